-- Lives of router processes. A fenced one gets no lease any more.
create table epochs (
    epoch_id  uuid not null,
    fenced_at timestamptz,
    constraint epochs_pkey primary key (epoch_id)
);

-- Credit lent to an epoch, and what came of it.
create table leases (
    lease_id      uuid        not null,
    account_id    uuid        not null,
    epoch_id      uuid        not null,
    amount_nanos  bigint      not null,
    price_version integer     not null,
    state         text        not null,
    stated_calls  bigint,
    stated_nanos  bigint,
    settled_calls bigint      not null default 0,
    settled_nanos bigint      not null default 0,
    granted_at    timestamptz not null,
    closed_at     timestamptz,
    freed_at      timestamptz,
    constraint leases_pkey primary key (lease_id),
    constraint leases_epoch_id_fkey foreign key (epoch_id) references epochs,
    constraint leases_price_version_fkey foreign key (price_version) references price_lists,
    constraint leases_amount_nanos_check check (amount_nanos > 0),
    constraint leases_state_check check (state in ('open', 'closed', 'freed')),
    constraint leases_stated_check check ((state = 'open') = (stated_calls is null)),
    constraint leases_settled_check check (settled_nanos between 0 and amount_nanos)
);
create index leases_epoch_id_idx on leases (epoch_id) where state = 'open';
create index leases_account_id_idx on leases (account_id) where state <> 'freed';

-- Accounts whose idle leases are wanted back; other replicas of billing read it.
create table recalls (
    account_id uuid        not null,
    wanted_at  timestamptz not null,
    constraint recalls_pkey primary key (account_id)
);
create index recalls_wanted_at_idx on recalls (wanted_at);

-- When an account was last told to be exhausted.
create table exhaustions (
    account_id uuid        not null,
    told_at    timestamptz not null,
    constraint exhaustions_pkey primary key (account_id)
);

-- The bill of each call: its id is booked once, ever.
create table calls (
    call_id       uuid        not null,
    lease_id      uuid        not null,
    account_id    uuid        not null,
    app_id        uuid        not null,
    key_id        uuid        not null,
    model         text        not null,
    input_tokens  bigint      not null,
    output_tokens bigint      not null,
    price_version integer     not null,
    amount_nanos  bigint      not null,
    usage_source  text        not null,
    booked_at     timestamptz not null,
    constraint calls_pkey primary key (call_id),
    constraint calls_lease_id_fkey foreign key (lease_id) references leases,
    constraint calls_tokens_check check (input_tokens >= 0 and output_tokens >= 0),
    constraint calls_amount_nanos_check check (amount_nanos >= 0)
);
create index calls_account_id_idx on calls (account_id, booked_at, call_id);
create trigger calls_append_only before update or delete on calls
    for each row execute function refuse_change();
