-- Where the chains stood at an instant, signed: who rewrites a chain needs the key as well.
create table ledger_checkpoints (
    number    bigint      not null,
    made_at   timestamptz not null,
    -- The hash of the checkpoint before; 32 zero bytes for the first.
    previous  bytea       not null,
    -- SHA-256 over number, time, previous and every head; what is signed.
    digest    bytea       not null,
    key_id    text        not null,
    signature bytea       not null,
    constraint ledger_checkpoints_pkey primary key (number),
    constraint ledger_checkpoints_number_check check (number > 0),
    constraint ledger_checkpoints_digest_check
        check (octet_length(previous) = 32 and octet_length(digest) = 32),
    constraint ledger_checkpoints_signature_check check (octet_length(signature) = 64)
);

-- The accounts that went on since the checkpoint before.
create table ledger_checkpoint_heads (
    number            bigint not null,
    ledger_account_id bigint not null,
    chain_position    bigint not null,
    chain_hash        bytea  not null,
    constraint ledger_checkpoint_heads_pkey primary key (ledger_account_id, chain_position),
    constraint ledger_checkpoint_heads_number_fkey
        foreign key (number) references ledger_checkpoints
);
create index ledger_checkpoint_heads_number_idx on ledger_checkpoint_heads (number);

create trigger ledger_checkpoints_append_only before update or delete on ledger_checkpoints
    for each row execute function refuse_change();
create trigger ledger_checkpoints_no_truncate before truncate on ledger_checkpoints
    for each statement execute function refuse_change();
create trigger ledger_checkpoint_heads_append_only before update or delete on ledger_checkpoint_heads
    for each row execute function refuse_change();
create trigger ledger_checkpoint_heads_no_truncate before truncate on ledger_checkpoint_heads
    for each statement execute function refuse_change();
