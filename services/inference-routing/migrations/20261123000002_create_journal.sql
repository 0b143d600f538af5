-- One life of one router process. While `alive_until` lies ahead, only that process writes the
-- rows of its calls; once `fenced_at` is set, only recovery does.
create table router_epochs (
    epoch_id uuid not null constraint router_epochs_pkey primary key,
    replica text not null,
    started_at timestamptz not null default now(),
    alive_until timestamptz not null,
    fenced_at timestamptz,
    -- every call has its final row and every lease is closed
    settled_at timestamptz
);
create index router_epochs_unsettled_idx on router_epochs (alive_until) where settled_at is null;

-- The journal and the call log in one: a row is made when a call is dispatched, takes its
-- progress, and is closed by its final numbers. No content.
create table calls (
    call_id uuid not null constraint calls_pkey primary key,
    epoch_id uuid not null,
    lease_id uuid not null,
    account_id uuid not null,
    app_id uuid not null,
    key_id uuid not null,
    model text not null,
    -- 10^-9 CNY a token, from this version of the price list
    price_version integer not null,
    input_price bigint not null,
    output_price bigint not null,
    -- what was held: no bill exceeds it
    input_bound bigint not null,
    output_bound bigint not null,
    traceparent text,
    dispatched_at timestamptz not null,
    -- sent so far
    progress_input bigint,
    progress_output bigint,
    -- 0 it runs, else wanwu.inference.v1.CallOutcome
    outcome smallint not null default 0,
    attempts smallint not null default 1,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    amount_nanos bigint not null default 0,
    usage_source text,
    finished_at timestamptz,
    constraint calls_bound_check check (input_tokens <= input_bound and output_tokens <= output_bound),
    constraint calls_finished_check check ((outcome = 0) = (finished_at is null)),
    constraint calls_usage_source_check
        check (usage_source is null or usage_source in ('engine', 'progress', 'estimate'))
) with (fillfactor = 70);
create index calls_account_idx on calls (account_id, call_id desc);
create index calls_lease_idx on calls (lease_id);
create index calls_open_idx on calls (epoch_id) where outcome = 0;

-- Keys that clients gave their calls: each is good for one call in 24 hours.
create table idempotency_keys (
    app_id uuid not null,
    idempotency_key text not null
        constraint idempotency_keys_idempotency_key_check
        check (char_length(idempotency_key) between 1 and 128),
    call_id uuid not null,
    used_at timestamptz not null,
    constraint idempotency_keys_pkey primary key (app_id, idempotency_key)
);
create index idempotency_keys_used_at_idx on idempotency_keys (used_at);
create index idempotency_keys_call_idx on idempotency_keys (call_id);
