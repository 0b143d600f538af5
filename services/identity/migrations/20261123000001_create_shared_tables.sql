-- Requests that create something: the same request_id gives the same answer, once.
create table requests (
    method text not null,
    caller text not null,
    request_id uuid not null,
    body_mac bytea not null constraint requests_body_mac_check check (octet_length(body_mac) = 32),
    object_id uuid not null,
    created_at timestamptz not null,
    -- null: kept for ever, as for money
    kept_until timestamptz,
    constraint requests_pkey primary key (method, caller, request_id)
);
create index requests_kept_until_idx on requests (kept_until) where kept_until is not null;

-- The region that this database belongs to; one row.
create table database_marks (
    region text not null,
    only_one boolean not null default true constraint database_marks_only_one_check check (only_one),
    constraint database_marks_pkey primary key (only_one)
);

-- What this service tells: written with the change that it tells of, sent by the relay.
create table outbox (
    event_id uuid not null constraint outbox_pkey primary key,
    type text not null,
    payload bytea not null constraint outbox_payload_check check (octet_length(payload) <= 65536),
    traceparent text,
    tracestate text,
    created_at timestamptz not null default now(),
    -- a relay is sending it until then
    leased_until timestamptz,
    attempts integer not null default 0,
    -- null: not accepted by the broker yet
    published_at timestamptz
);
create index outbox_pending_idx on outbox (created_at) where published_at is null;
create index outbox_published_at_idx on outbox (published_at) where published_at is not null;

-- What this service has applied: one row with each effect, in its transaction.
create table inbox (
    queue text not null,
    event_id uuid not null,
    applied_at timestamptz not null,
    constraint inbox_pkey primary key (queue, event_id)
);

-- What could not be applied yet and is tried again.
create table inbox_retries (
    queue text not null,
    event_id uuid not null,
    type text not null,
    payload bytea not null,
    traceparent text,
    tracestate text,
    attempts integer not null,
    first_at timestamptz not null,
    next_at timestamptz not null,
    error text not null,
    constraint inbox_retries_pkey primary key (queue, event_id)
);
create index inbox_retries_next_at_idx on inbox_retries (next_at);

-- What was given up: an operator reads it and hands it in again.
create table dead_letters (
    queue text not null,
    event_id uuid not null,
    type text not null,
    payload bytea not null,
    traceparent text,
    tracestate text,
    attempts integer not null,
    error text not null,
    dead_at timestamptz not null,
    constraint dead_letters_pkey primary key (queue, event_id)
);
create index dead_letters_dead_at_idx on dead_letters (dead_at, event_id, queue);

-- One data key for each person, wrapped by a key from outside the database. Without it nothing
-- that is sealed for the person can be read. Its backups live at most 7 days.
create table subject_keys (
    subject uuid not null constraint subject_keys_pkey primary key,
    -- the wrapping key's id; null once destroyed
    key_id text,
    wrapped bytea,
    created_at timestamptz not null,
    destroyed_at timestamptz,
    constraint subject_keys_destroyed_check
        check ((wrapped is null) = (destroyed_at is not null) and (key_id is null) = (wrapped is null))
);
create index subject_keys_key_id_idx on subject_keys (key_id);
