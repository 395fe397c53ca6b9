#!/bin/sh
# Fills the new database with the ERP example, in the size of `make demo`: run by PostgreSQL's image while it
# is being made (ops/compose.yaml). The settings are the seed's: examples/erp/seed.
set -eu

export PGOPTIONS='-c erp.organizations=200 -c erp.customers=2000 -c erp.products=500 -c erp.orders=20000'
set -- --file /examples/erp/schema.sql
for step in /examples/erp/seed/*.sql; do
    set -- "$@" --file "$step"
done
psql --quiet --output /dev/null --set ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
