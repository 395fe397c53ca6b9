// Answers kept in this process, by organization, so that a whole organization is forgotten at once.

import type { CachedAnswer } from './cached-answer.js';

interface Kept {
  answer: CachedAnswer;
  /** By `performance.now()`. */
  until: number;
}

export class LocalCache {
  private readonly organizations = new Map<string, Map<string, Kept>>();

  constructor(
    private readonly ttlMs: number,
    /** The one that has been longest in it makes room. */
    private readonly mostOrganizations = 1_000,
  ) {}

  get(org: string, key: string): CachedAnswer | undefined {
    const kept = this.organizations.get(org)?.get(key);
    return kept !== undefined && performance.now() < kept.until ? kept.answer : undefined;
  }

  set(org: string, key: string, answer: CachedAnswer): void {
    let answers = this.organizations.get(org);
    if (answers === undefined) {
      if (this.organizations.size >= this.mostOrganizations) {
        this.organizations.delete(this.organizations.keys().next().value!);
      }
      answers = new Map();
      this.organizations.set(org, answers);
    }
    answers.set(key, { answer, until: performance.now() + this.ttlMs });
  }

  forget(org: string): void {
    this.organizations.delete(org);
  }
}
