"""Door. pre: the first schema of scoring, written narrow, so that a write does not grow with an account's history."""

from alembic import op

revision = "0001"
down_revision = None

# A `day` is an int: days since 1970-01-01 in the deployment's day_zone. Scores are hundredths.
TABLES = """
CREATE TABLE scoring.deployment (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE scoring.ownership (
    partition int PRIMARY KEY, epoch bigint NOT NULL, owner text NOT NULL, config bigint NOT NULL DEFAULT 0,
    taken_at timestamptz NOT NULL DEFAULT now());

-- Texts of mapping and scorecard, never changed: history names them by version. `activations` say which counts since when.
CREATE TABLE scoring.configs (
    kind text NOT NULL CHECK (kind IN ('mapping', 'scorecard')), version text NOT NULL, text text NOT NULL, author text NOT NULL,
    created_at timestamptz NOT NULL, PRIMARY KEY (kind, version));
CREATE TABLE scoring.activations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('mapping', 'scorecard', 'shadow')), version text,
    effective_from timestamptz NOT NULL, author text NOT NULL, activated_at timestamptz NOT NULL);

CREATE TABLE scoring.positions (
    topic text NOT NULL, partition int NOT NULL, first_offset bigint NOT NULL, next_offset bigint NOT NULL, PRIMARY KEY (topic, partition));

CREATE TABLE scoring.outcomes (
    topic text NOT NULL, partition int NOT NULL, outcome text NOT NULL, reason text NOT NULL DEFAULT '', count bigint NOT NULL,
    PRIMARY KEY (topic, partition, outcome, reason));

-- One row holds many ids: 8 bytes of hash each in `ids`, 4 bytes of the body's hash in `bodies`, in the same order.
CREATE TABLE scoring.dedup (
    partition int NOT NULL, lane smallint NOT NULL, bucket int NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, written int NOT NULL,
    ids bytea NOT NULL, bodies bytea NOT NULL, PRIMARY KEY (partition, lane, bucket, id));

-- `rest` is JSON that only AccountState reads: what the band remembers, and the evidence of the last calls.
CREATE TABLE scoring.accounts (
    account text PRIMARY KEY, partition int NOT NULL, first_day int, last_active int, last_event_us bigint, events_total bigint NOT NULL,
    origin int NOT NULL, habit bytea NOT NULL, segment text NOT NULL, rest bytea NOT NULL, profile jsonb, band text NOT NULL,
    score int CHECK (score BETWEEN 0 AND 10000), coverage int NOT NULL CHECK (coverage BETWEEN 0 AND 10000), closed_day int NOT NULL,
    standing int, at_risk bigint) WITH (fillfactor = 80);
CREATE INDEX accounts_of_partition ON scoring.accounts (partition, account);
-- One for each order of the list. What they stand on moves at closes and by news only, so that the writes of every call stay within their page.
CREATE INDEX accounts_at_risk ON scoring.accounts ((-coalesce(at_risk, 0)), account);
CREATE INDEX accounts_standing ON scoring.accounts ((coalesce(standing, 10001)), account);
CREATE INDEX accounts_arr ON scoring.accounts ((-coalesce((profile ->> 'arr')::float8, 0)), account);
CREATE INDEX accounts_of_owner ON scoring.accounts ((profile ->> 'owner'), (-coalesce(at_risk, 0)), account);
CREATE INDEX accounts_of_parent ON scoring.accounts ((profile ->> 'parent'));

CREATE TABLE scoring.owner_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, since_us bigint NOT NULL, owner text);
CREATE INDEX owner_history_of_account ON scoring.owner_history (account, id);

-- What people recorded of an account: `facts` has what counts for its lifecycle, this who said it, when, and why.
CREATE TABLE scoring.account_outcomes (
    account text NOT NULL, event_id text NOT NULL, occurred_us bigint NOT NULL, outcome text NOT NULL, author text NOT NULL, note text NOT NULL,
    PRIMARY KEY (account, event_id));

CREATE TABLE scoring.day_counts (
    account text NOT NULL, day int NOT NULL, counts jsonb NOT NULL, PRIMARY KEY (account, day)) WITH (fillfactor = 80);

CREATE TABLE scoring.user_days (
    account text NOT NULL, user_id text NOT NULL, block int NOT NULL, mask int NOT NULL, PRIMARY KEY (account, block, user_id))
    WITH (fillfactor = 80);

-- `versions` are the fact's values, newest first: a close sees what was true at the end of its day.
CREATE TABLE scoring.facts (account text NOT NULL, name text NOT NULL, versions jsonb NOT NULL, PRIMARY KEY (account, name));

-- `known` is JSON of links.Known: accounts joined and left, and the newer id. `account` is the last known one, for people who look.
CREATE TABLE scoring.users (subject text PRIMARY KEY, partition int NOT NULL, account text, known jsonb NOT NULL);

CREATE TABLE scoring.parked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, partition int NOT NULL, "offset" bigint NOT NULL, subject text NOT NULL,
    source text NOT NULL, received_day int NOT NULL, envelope bytea NOT NULL);
CREATE INDEX parked_of_subject ON scoring.parked (partition, subject);
CREATE INDEX parked_of_source ON scoring.parked (source, subject);

-- A day's close of one partition goes resolved -> recorded -> done; `positions` (topic -> offset) is where a rebuild closes.
CREATE TABLE scoring.closes (
    day int NOT NULL, partition int NOT NULL, stage text NOT NULL CHECK (stage IN ('resolved', 'recorded', 'done')), cause text,
    positions jsonb, partial bytea, moved_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (day, partition));

CREATE TABLE scoring.day_records (day int PRIMARY KEY, record jsonb NOT NULL);

-- How many calls of a source occurred in an hour (since 1970), by the accounts of a partition: what the day record's verdicts are made of.
CREATE TABLE scoring.source_hours (
    partition int NOT NULL, source text NOT NULL, hour int NOT NULL, calls bigint NOT NULL, PRIMARY KEY (partition, source, hour));
-- Sources that an operator has called gone; a later call of the source outweighs it.
CREATE TABLE scoring.retired_sources (source text PRIMARY KEY, day int NOT NULL, author text NOT NULL, retired_at timestamptz NOT NULL);

-- `sequence` is the account's last change of band when the day was closed; `reasons` is MessagePack of health.kept.Kept.
CREATE TABLE scoring.score_history (
    account text NOT NULL, day int NOT NULL, band text NOT NULL, score int, coverage int NOT NULL, sequence int NOT NULL, reasons bytea,
    PRIMARY KEY (account, day))
    PARTITION BY RANGE (day);

-- A scorecard beside the one in force, as of the account's last close under both; `turned_red` and `first_red` count since `since`.
CREATE TABLE scoring.shadow_scores (
    account text PRIMARY KEY, version text NOT NULL, since int NOT NULL, day int NOT NULL, in_force_band text NOT NULL, in_force_score int,
    in_force_turned_red int NOT NULL, in_force_first_red int, band text NOT NULL, score int, turned_red int NOT NULL, first_red int)
    WITH (fillfactor = 80);

CREATE TABLE scoring.risk_changes (
    account text NOT NULL, sequence int NOT NULL, day int NOT NULL, cause text NOT NULL, from_band text, to_band text NOT NULL,
    body jsonb NOT NULL, PRIMARY KEY (account, sequence));

-- One row holds the records of one topic-partition from one transaction, packed: MessagePack [[key, value], ...].
CREATE TABLE scoring.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, partition int NOT NULL, topic text NOT NULL, target int NOT NULL,
    count int NOT NULL, records bytea NOT NULL);
CREATE INDEX outbox_of_partition ON scoring.outbox (partition, id);
"""

VIEWS = """
CREATE VIEW scoring.v_positions AS SELECT topic, partition, next_offset, first_offset FROM scoring.positions;
CREATE VIEW scoring.v_outcomes AS SELECT topic, partition, outcome, reason, count FROM scoring.outcomes;
CREATE VIEW scoring.v_closes AS SELECT partition, day, stage = 'done' AS done FROM scoring.closes;
CREATE VIEW scoring.v_outbox AS SELECT coalesce(sum(count), 0)::bigint AS pending FROM scoring.outbox;
CREATE VIEW scoring.v_parked AS SELECT source, count(*) AS count, sum(octet_length(envelope))::bigint AS bytes FROM scoring.parked GROUP BY source;
"""


def upgrade() -> None:
    for statement in (TABLES + VIEWS).split(";\n"):
        if statement.strip():
            op.execute(statement)
