// From the example's SQL files to statements that PostgreSQL prepares once a connection.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Values by parameter name, as PostgreSQL reads them from text. */
export type Values = Record<string, string | null | undefined>;

/** A named statement: after the first time on a connection, only its name and values travel. */
export interface Statement {
  name: string;
  text: string;
  bind(values: Values): (string | null)[];
}

/** PostgreSQL's type of each named parameter. */
const TYPES: Record<string, string> = {
  org: 'bigint',
  from: 'date',
  to: 'date',
  region: 'text',
  customer: 'bigint',
  user: 'bigint',
  date: 'date',
  items: 'jsonb',
};

/** The statements of a file. `:org` becomes `($1::bigint)`, as Tidemark's origin has it. */
export function statements(folder: string, name: string): Statement[] {
  const sql = readFileSync(join(folder, `${name}.sql`), 'utf8').replace(/--.*$/gm, '');
  const texts = sql.split(';').filter((text) => text.trim() !== '');
  return texts.map((text, at) => numbered(`${name}_${at + 1}`, text.trim()));
}

function numbered(name: string, named: string): Statement {
  const parameters: string[] = [];
  const text = named.replace(/(?<!:):([a-z]+)/g, (_, parameter: string) => {
    const type = TYPES[parameter];
    if (!type) {
      throw new Error(`${name}: the type of :${parameter} is not known`);
    }
    if (!parameters.includes(parameter)) {
      parameters.push(parameter);
    }
    return `($${parameters.indexOf(parameter) + 1}::${type})`;
  });
  return {
    name,
    text,
    bind: (values) => parameters.map((parameter) => values[parameter] ?? null),
  };
}
