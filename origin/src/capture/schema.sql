CREATE SCHEMA IF NOT EXISTS tidemark;
COMMENT ON SCHEMA tidemark IS 'Change capture of Tidemark. Made by tidemark-origin install, removed by tidemark-origin uninstall.';

-- Which scopes changed, written by the triggers in the writer's own transaction and deleted by the
-- relay once they are applied. kind: t = a whole table, f = a whole family, m = one member.
CREATE TABLE IF NOT EXISTS tidemark.outbox (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind   "char" NOT NULL CHECK (kind IN ('t', 'f', 'm')),
    name   text   NOT NULL,
    member text,
    CHECK ((kind = 'm') = (member IS NOT NULL))
);

-- The number of each relay leadership; never goes back.
CREATE SEQUENCE IF NOT EXISTS tidemark.term AS bigint;

-- The last event whose scopes left the outbox.
CREATE TABLE IF NOT EXISTS tidemark.progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    event    text NOT NULL
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
