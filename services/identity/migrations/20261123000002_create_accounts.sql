create table accounts (
    account_id    uuid        not null,
    registered_at timestamptz not null,
    closed_at     timestamptz,
    constraint accounts_pkey primary key (account_id)
);

-- The only place that knows numbers: sealed with the account's data key, found by a blind index.
create table phones (
    account_id uuid  not null,
    sealed     bytea not null,
    index_key  text  not null,
    index_mac  bytea not null,
    constraint phones_pkey primary key (account_id),
    constraint phones_account_id_fkey foreign key (account_id) references accounts,
    constraint phones_index_mac_key unique (index_mac),
    constraint phones_index_mac_check check (octet_length(index_mac) = 32)
);

-- Codes that were sent. Kept for the limits of a day, then removed.
create table codes (
    code_id     uuid        not null,
    phone_mac   bytea       not null,
    purpose     text        not null,
    code_mac    bytea       not null,
    address_key text        not null,
    sent_at     timestamptz not null,
    expires_at  timestamptz not null,
    comparisons integer     not null default 0,
    used_at     timestamptz,
    constraint codes_pkey primary key (code_id),
    constraint codes_comparisons_check check (comparisons between 0 and 5)
);
create index codes_phone_mac_idx on codes (phone_mac, sent_at);
create index codes_address_key_idx on codes (address_key, sent_at);
create index codes_sent_at_idx on codes (sent_at);

create table sessions (
    session_id uuid        not null,
    account_id uuid        not null,
    opened_at  timestamptz not null,
    ended_at   timestamptz,
    constraint sessions_pkey primary key (session_id),
    constraint sessions_account_id_fkey foreign key (account_id) references accounts
);

create table refresh_tokens (
    token_id    uuid        not null,
    session_id  uuid        not null,
    secret_hash bytea       not null,
    expires_at  timestamptz not null,
    used_at     timestamptz,
    constraint refresh_tokens_pkey primary key (token_id),
    constraint refresh_tokens_session_id_fkey foreign key (session_id) references sessions
);
