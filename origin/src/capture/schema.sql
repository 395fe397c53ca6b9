CREATE SCHEMA IF NOT EXISTS tidemark;
COMMENT ON SCHEMA tidemark IS 'Change capture of Tidemark. Made by tidemark-origin install, removed by tidemark-origin uninstall.';

-- An outbox of an earlier layout: whatever it holds is repeated at the end of the installation.
DO $$
BEGIN
    IF to_regclass('tidemark.outbox') IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('tidemark.outbox') AND attname = 'xact') THEN
        DROP TABLE tidemark.outbox;
    END IF;
END $$;

-- Which scopes changed, written by the triggers in the writer's own transaction and deleted by the
-- relay once they are applied. A statement writes at most one row for each of them:
--   t  the table `name` as a whole
--   f  the family `name` as a whole
--   m  `members` of the family `name`
--   p  rows at the begin of a path: `members` are keys of the path `name`, an array with the values of
--      each, which tidemark.members() resolves to members of the path's family
--   q  the same for a path that leads to parts of members, each as a JSON text
-- `members` may hold NULL, which is none, and repeat itself.
CREATE TABLE IF NOT EXISTS tidemark.outbox (
    xact    xid8   NOT NULL DEFAULT pg_current_xact_id(),
    id      bigint GENERATED ALWAYS AS IDENTITY,
    kind    "char" NOT NULL, -- no CHECK: each statement of a writer would parse it anew
    name    text   NOT NULL,
    members text[] NOT NULL DEFAULT '{}',
    source  text, -- the table that was changed, as the catalog calls it; none if it was none (a purge)
    -- By transaction first: the relay looks only at those that may have committed since it last
    -- looked, and so never at rows that it has deleted but that can't be vacuumed yet.
    PRIMARY KEY (xact, id)
);
ALTER TABLE tidemark.outbox ADD COLUMN IF NOT EXISTS source text;
-- A queue: its rows live for milliseconds. Vacuumed by how many have died, since it has no size that
-- a share could be taken of, and without pauses.
ALTER TABLE tidemark.outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- The number of each relay leadership; never goes back.
CREATE SEQUENCE IF NOT EXISTS tidemark.term AS bigint;

-- The last event whose scopes left the outbox.
CREATE TABLE IF NOT EXISTS tidemark.progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    event    text NOT NULL
) WITH (fillfactor = 10);
ALTER TABLE tidemark.progress SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- What the current epoch of each Redis rests on, to notice when it is no longer the same. What is not
-- found here only begins a new epoch, so that an earlier layout is not worth keeping.
DROP TABLE IF EXISTS tidemark.region;
CREATE TABLE tidemark.region (
    name     text PRIMARY KEY,
    redis    text NOT NULL,
    database text NOT NULL,
    catalog  text NOT NULL,
    epoch    text NOT NULL
);

-- What is installed, to notice when the catalog asks for something else.
CREATE TABLE IF NOT EXISTS tidemark.installed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    digest   text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);
