-- A role for each service: it owns and writes the schema of its name, and no other service's. Run once by a superuser, before the first migration:
--   psql "$DATABASE_URL" -v ingest=PASSWORD -v scoring=PASSWORD -v alerts=PASSWORD -f deploy/postgres/roles.sql
\set ON_ERROR_STOP on
BEGIN;
CREATE ROLE churnsignal_ingest LOGIN PASSWORD :'ingest';
CREATE ROLE churnsignal_scoring LOGIN PASSWORD :'scoring';
CREATE ROLE churnsignal_alerts LOGIN PASSWORD :'alerts';
-- Each makes its own schema; scoring also the copies beside it that checkpoints and rebuilds are.
SELECT format('GRANT CREATE ON DATABASE %I TO churnsignal_ingest, churnsignal_scoring, churnsignal_alerts', current_database()) \gexec
-- Ingest reads the mappings in force; whoever runs churnsignal-verify reads what was applied and told, as scoring does then.
ALTER DEFAULT PRIVILEGES FOR ROLE churnsignal_scoring GRANT USAGE ON SCHEMAS TO churnsignal_ingest;
ALTER DEFAULT PRIVILEGES FOR ROLE churnsignal_scoring GRANT SELECT ON TABLES TO churnsignal_ingest;
ALTER DEFAULT PRIVILEGES FOR ROLE churnsignal_alerts GRANT USAGE ON SCHEMAS TO churnsignal_scoring;
ALTER DEFAULT PRIVILEGES FOR ROLE churnsignal_alerts GRANT SELECT ON TABLES TO churnsignal_scoring;
COMMIT;
