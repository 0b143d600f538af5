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
create index inbox_applied_at_idx on inbox (applied_at);

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
