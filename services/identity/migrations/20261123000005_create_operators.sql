create table operators (
    operator_id     uuid        not null,
    name            text        not null,
    password_hash   text        not null,
    totp_sealed     bytea       not null,
    -- The last step whose code was used: each is good once.
    totp_step       bigint      not null default 0,
    roles           integer[]   not null,
    failures        integer     not null default 0,
    failures_since  timestamptz,
    created_at      timestamptz not null,
    constraint operators_pkey primary key (operator_id),
    constraint operators_name_key unique (name),
    constraint operators_name_check check (name ~ '^[a-z][a-z0-9.-]{1,31}$')
);

-- Every action of an operator.
create table audit_entries (
    entry_id    uuid        not null,
    operator_id uuid        not null,
    action      text        not null,
    object_id   uuid        not null,
    reason_code text        not null,
    acted_at    timestamptz not null,
    constraint audit_entries_pkey primary key (entry_id)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;

create trigger audit_entries_append_only before update or delete on audit_entries
    for each row execute function refuse_change();
