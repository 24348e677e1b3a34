#!/bin/sh
# A database per service and two roles: the owner migrates it, the login role runs the service and owns nothing.
# Safe to repeat. PGHOST, PGUSER, PGPASSWORD: the administrator's. SERVICES: names; for each NAME_OWNER_PASSWORD and
# NAME_PASSWORD. `driftloop_local.databases` does the same for the local stack; a test holds the two equal.
set -eu

for service in $SERVICES; do
    upper=$(echo "$service" | tr '[:lower:]' '[:upper:]')
    eval "owner_password=\${${upper}_OWNER_PASSWORD:?}" "login_password=\${${upper}_PASSWORD:?}"
    # By the environment, not as arguments: those can be read by every process of the machine.
    export owner_password login_password
    psql --quiet --no-psqlrc --dbname postgres -v ON_ERROR_STOP=1 -v login="$service" -v owner="${service}_owner" <<'SQL'
\getenv owner_password owner_password
\getenv login_password login_password
select format('create role %I', role) from unnest(array[:'owner', :'login']) as role
    where not exists (select from pg_roles where rolname = role) \gexec
alter role :"owner" with login password :'owner_password';
alter role :"login" with login password :'login_password';
select format('create database %I owner %I', :'login', :'owner')
    where not exists (select from pg_database where datname = :'login') \gexec
\connect :"login"
revoke all on database :"login" from public;
grant connect on database :"login" to :"login";
grant usage on schema public to :"login";
alter default privileges for role :"owner" grant usage on schemas to :"login";
alter default privileges for role :"owner" grant select, insert, update, delete on tables to :"login";
alter default privileges for role :"owner" grant usage, select, update on sequences to :"login";
grant select, insert, update, delete on all tables in schema public to :"login";
grant usage, select, update on all sequences in schema public to :"login";
SQL
    echo "$service: database and roles are there"
done
