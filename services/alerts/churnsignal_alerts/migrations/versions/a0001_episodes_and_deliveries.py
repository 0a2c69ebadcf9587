"""Door. Pre. The first tables: positions, episodes, notices, deliveries, people and routing."""

from alembic import op

revision = "a0001"
down_revision = None
branch_labels = None
depends_on = None

_DDL = """
CREATE TABLE alerts.positions (
  topic text NOT NULL, partition int NOT NULL, epoch bigint NOT NULL, owner text NOT NULL,
  first_offset bigint, next_offset bigint, PRIMARY KEY (topic, partition));
CREATE TABLE alerts.outcomes (
  topic text NOT NULL, partition int NOT NULL, outcome text NOT NULL, count bigint NOT NULL, PRIMARY KEY (topic, partition, outcome));
CREATE TABLE alerts.sequences (account text PRIMARY KEY, sequence bigint NOT NULL);
CREATE TABLE alerts.held (
  account text NOT NULL, sequence bigint NOT NULL, record bytea NOT NULL, recorded_ms bigint NOT NULL,
  held_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (account, sequence));
CREATE INDEX held_by_age ON alerts.held (held_at);
CREATE TABLE alerts.dead (
  topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL, reason text NOT NULL, record bytea NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (topic, partition, "offset"));
CREATE TABLE alerts.profiles (account text PRIMARY KEY, profile bytea NOT NULL, updated_at timestamptz);

CREATE TABLE alerts.csms (
  id text PRIMARY KEY, name text NOT NULL, email text, slack text, locale text NOT NULL, zone text, country text, hours text, workdays text,
  channels text[] NOT NULL, manager text, delegate text, away_from date, away_until date, active boolean NOT NULL);
CREATE TABLE alerts.routing (
  version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, author text NOT NULL, at timestamptz NOT NULL, document text NOT NULL);

CREATE TABLE alerts.episodes (
  id text PRIMARY KEY, account text NOT NULL, kind text NOT NULL, state text NOT NULL, opened_at timestamptz NOT NULL, since timestamptz NOT NULL,
  ended_at timestamptz, flips int NOT NULL, csm text, pinned boolean NOT NULL, acted_by text, acted_at timestamptz, until timestamptz,
  outcome text, note text NOT NULL, score_before int, change bytea NOT NULL, fall bytea NOT NULL, priority bigint NOT NULL, version int NOT NULL DEFAULT 0,
  rung int NOT NULL, next_at timestamptz, worse_only boolean NOT NULL, muted text NOT NULL, stands_for text, feedback text, tasks bytea NOT NULL,
  account_key text NOT NULL, segment_key text NOT NULL, owner_key text NOT NULL);
CREATE INDEX episodes_to_silence ON alerts.episodes (segment_key, owner_key, account_key, kind, id) WHERE state IN ('open', 'acknowledged', 'snoozed');
CREATE UNIQUE INDEX one_active_episode ON alerts.episodes (account, kind) WHERE state IN ('open', 'acknowledged', 'snoozed');
CREATE INDEX episodes_by_account ON alerts.episodes (account, kind, opened_at DESC);
CREATE INDEX episodes_by_state ON alerts.episodes (state, opened_at DESC, id DESC) INCLUDE (account);
CREATE INDEX episodes_by_csm ON alerts.episodes (csm, opened_at DESC, id DESC);
CREATE INDEX episodes_due ON alerts.episodes (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX episodes_muted ON alerts.episodes (muted) WHERE muted <> '';
CREATE INDEX episodes_in_trust ON alerts.episodes (stands_for) WHERE stands_for IS NOT NULL;
CREATE INDEX episodes_in_hand ON alerts.episodes (csm) WHERE state IN ('open', 'acknowledged', 'snoozed');
CREATE INDEX episodes_ended ON alerts.episodes (ended_at) WHERE state IN ('recovered', 'closed');
CREATE TABLE alerts.silences (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text, segment text, owner text, kind text, author text NOT NULL, reason text NOT NULL,
  made_at timestamptz NOT NULL, ends_at timestamptz NOT NULL);
CREATE INDEX silences_by_end ON alerts.silences (ends_at DESC);
CREATE TABLE alerts.contacts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, at timestamptz NOT NULL, way text NOT NULL, person text NOT NULL,
  note text NOT NULL, author text NOT NULL, noted_at timestamptz NOT NULL, event text, UNIQUE (account, event));
CREATE INDEX contacts_of_account ON alerts.contacts (account, at DESC, id DESC);
CREATE TABLE alerts.timeline (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, episode text NOT NULL REFERENCES alerts.episodes (id), at timestamptz NOT NULL,
  what text NOT NULL, actor text NOT NULL, why text NOT NULL);
CREATE INDEX timeline_of_episode ON alerts.timeline (episode, id);

CREATE TABLE alerts.deliveries (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, recipient text NOT NULL, name text NOT NULL, channel text NOT NULL, address text NOT NULL,
  locale text NOT NULL, zone text NOT NULL, state text NOT NULL, attempts int NOT NULL, fence bigint NOT NULL,
  lease_until timestamptz, not_before timestamptz, first_try timestamptz NOT NULL DEFAULT now(),
  possible_duplicate boolean NOT NULL, unknown boolean NOT NULL, ref text, accepted_at timestamptz, episodes text[] NOT NULL, note text);
CREATE INDEX deliveries_of_episode ON alerts.deliveries USING gin (episodes);
CREATE INDEX deliveries_under_way ON alerts.deliveries (channel, address, coalesce(lease_until, not_before), id) WHERE state IN ('sending', 'retry');
CREATE TABLE alerts.troubles (
  channel text NOT NULL, address text NOT NULL, reason text NOT NULL, bounced boolean NOT NULL, since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (channel, address));
CREATE TABLE alerts.attempts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, delivery bigint NOT NULL REFERENCES alerts.deliveries (id), at timestamptz NOT NULL,
  channel text NOT NULL, outcome text NOT NULL, detail text NOT NULL, took_ms int NOT NULL);
CREATE INDEX attempts_of_delivery ON alerts.attempts (delivery, id);
CREATE TABLE alerts.notices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, episode text NOT NULL REFERENCES alerts.episodes (id), kind text NOT NULL, round bigint NOT NULL,
  verdict text NOT NULL, recipient text NOT NULL, name text NOT NULL, channel text NOT NULL, address text NOT NULL, locale text NOT NULL,
  zone text NOT NULL, route text NOT NULL, created_at timestamptz NOT NULL, due_at timestamptz NOT NULL, priority bigint NOT NULL,
  recorded_ms bigint, state text NOT NULL, delivery bigint REFERENCES alerts.deliveries (id),
  target bigint REFERENCES alerts.deliveries (id), sent_at timestamptz,
  UNIQUE (episode, kind, round, recipient, channel));
CREATE INDEX notices_due ON alerts.notices (due_at) WHERE state = 'queued';
CREATE INDEX notices_of_recipient ON alerts.notices (recipient, due_at);
CREATE INDEX notices_of_delivery ON alerts.notices (delivery);
CREATE INDEX notices_by_target ON alerts.notices (target) WHERE target IS NOT NULL;
CREATE TABLE alerts.pace (address text PRIMARY KEY, next_at timestamptz NOT NULL);
CREATE TABLE alerts.watchdog (
  single boolean PRIMARY KEY CHECK (single), number bigint NOT NULL, started_at timestamptz NOT NULL, arrived_at timestamptz NOT NULL);
CREATE TABLE alerts.used (key bytea PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX used_by_age ON alerts.used (at);

CREATE VIEW alerts.v_positions AS SELECT topic, partition, first_offset, next_offset FROM alerts.positions;
CREATE VIEW alerts.v_outcomes AS SELECT topic, partition, outcome, count FROM alerts.outcomes;
CREATE VIEW alerts.v_queue AS
  SELECT state, due_at, count(*) AS count FROM alerts.notices WHERE state IN ('queued', 'sending') GROUP BY state, due_at;
CREATE VIEW alerts.v_notices AS
  SELECT n.episode, e.account, n.recipient AS csm, d.channel, n.kind, n.sent_at, d.possible_duplicate, d.id AS message
  FROM alerts.notices n JOIN alerts.episodes e ON e.id = n.episode JOIN alerts.deliveries d ON d.id = n.delivery WHERE n.state = 'sent' AND n.kind <> 'state';
"""


def upgrade() -> None:
    """Create everything; the schema exists already."""
    for statement in _DDL.split(";\n"):
        if statement.strip():
            op.execute(statement)
