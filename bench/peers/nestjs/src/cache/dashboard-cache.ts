// The hand-tuned cache: cache-aside with raw bytes in Redis, invalidated by the application's own writes.
//
// An organization's keys are listed in a set. A write deletes them, and publishes that it did, so that every
// process forgets what it holds itself. This is what tutorials teach and people ship, and it has their races:
// a load that read before a commit may be stored after the invalidation of that commit, and then stays for the
// whole ttl. `GUARD=1` closes that within one process. Nothing closes it between processes, and no write that
// does not pass through this application invalidates anything.

import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { Redis } from 'ioredis';

import { ErpRepository, type DashboardQuestion } from '../erp/erp.repository.js';
import type { Settings } from '../settings.js';
import { SETTINGS } from '../tokens.js';
import { CachedAnswer } from './cached-answer.js';
import { LocalCache } from './local-cache.js';

/** Says the organization whose answers are no longer true. */
const CHANNEL = 'dashboard:invalidated';

/** A load that others may wait for. */
interface Load {
  org: string;
  /** An invalidation came while it ran. */
  overtaken: boolean;
  answer: Promise<CachedAnswer>;
}

@Injectable()
export class DashboardCache implements OnModuleInit, OnModuleDestroy {
  private readonly redis: Redis;
  private readonly subscriber: Redis;
  private readonly local: LocalCache | undefined;
  private readonly loads = new Map<string, Load>();
  /** How many this process has seen. */
  private invalidations = 0;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    private readonly repository: ErpRepository,
  ) {
    // A request does not wait for a Redis that is gone: it goes to PostgreSQL.
    this.redis = new Redis(settings.redisUrl, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
    });
    this.subscriber = new Redis(settings.redisUrl, { lazyConnect: true });
    this.local = settings.local ? new LocalCache(settings.ttlMs) : undefined;
    // They reconnect by themselves.
    this.redis.on('error', () => {});
    this.subscriber.on('error', () => {});
    this.subscriber.on('message', (_, org) => this.forget(org));
  }

  async onModuleInit(): Promise<void> {
    await Promise.all([this.redis.connect(), this.subscriber.connect()]);
    await this.subscriber.subscribe(CHANNEL);
  }

  /** The answer at once where this process has it, otherwise a promise of it. */
  get(question: DashboardQuestion): CachedAnswer | Promise<CachedAnswer> {
    const { org, from, to, region } = question;
    const key = `dashboard:${org}:${from}:${to}:${region}`;
    return this.local?.get(org, key) ?? this.fromRedis(key, question);
  }

  /** Deletes what is cached for an organization. The caller has committed a change of it. */
  async invalidate(org: string): Promise<void> {
    this.forget(org);
    const keys = await this.redis.smembers(index(org));
    const invalidation = this.redis.multi();
    if (keys.length > 0) {
      invalidation.unlink(keys);
    }
    await invalidation.publish(CHANNEL, org).exec();
    // Meanwhile a read may have found the old answer in Redis once more. (The message comes here, too, but later.)
    this.forget(org);
  }

  private async fromRedis(key: string, question: DashboardQuestion): Promise<CachedAnswer> {
    const begun = this.invalidations;
    const bytes = await this.redis.getBuffer(key).catch(() => null);
    if (bytes === null) {
      return this.load(key, question);
    }
    const answer = CachedAnswer.from(bytes);
    if (!(this.settings.guard && begun !== this.invalidations)) {
      this.local?.set(question.org, key, answer);
    }
    return answer;
  }

  /** From PostgreSQL, once for all that ask this process meanwhile. */
  private load(key: string, question: DashboardQuestion): Promise<CachedAnswer> {
    const running = this.loads.get(key);
    if (running !== undefined) {
      return running.answer;
    }
    const load: Load = {
      org: question.org,
      overtaken: false,
      answer: this.repository.dashboard(question).then((json) => {
        const answer = CachedAnswer.of(json);
        if (!(this.settings.guard && load.overtaken)) {
          this.store(question.org, key, answer);
        }
        return answer;
      }),
    };
    this.loads.set(key, load);
    const ended = () => {
      if (this.loads.get(key) === load) {
        this.loads.delete(key);
      }
    };
    load.answer.then(ended, ended);
    return load.answer;
  }

  /** Nobody waits for it: the client has its answer. */
  private store(org: string, key: string, answer: CachedAnswer): void {
    this.local?.set(org, key, CachedAnswer.from(answer.bytes));
    const { ttlMs } = this.settings;
    this.redis
      .multi()
      .sadd(index(org), key)
      .pexpire(index(org), 2 * ttlMs)
      .set(key, answer.bytes, 'PX', ttlMs)
      .exec()
      .catch(() => {});
  }

  /** What this process holds, and the loads that nobody may join any more. */
  private forget(org: string): void {
    this.invalidations += 1;
    this.local?.forget(org);
    for (const [key, load] of this.loads) {
      if (load.org === org) {
        load.overtaken = true;
        this.loads.delete(key);
      }
    }
  }

  onModuleDestroy(): void {
    this.redis.disconnect();
    this.subscriber.disconnect();
  }
}

function index(org: string): string {
  return `dashboards:${org}`;
}
