// What PostgreSQL refuses is the client's mistake and not this application's: 422, as Tidemark's origin says.

import { Catch, HttpException, UnprocessableEntityException, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import pg from 'pg';

@Catch()
export class RefusalFilter extends BaseExceptionFilter {
  override catch(thrown: unknown, host: ArgumentsHost): void {
    super.catch(meaning(thrown), host);
  }
}

function meaning(thrown: unknown): unknown {
  if (thrown instanceof HttpException || !(thrown instanceof pg.DatabaseError)) {
    return thrown;
  }
  // Data exceptions and violated constraints.
  const refused = thrown.code?.startsWith('22') || thrown.code?.startsWith('23');
  return refused ? new UnprocessableEntityException() : thrown;
}
