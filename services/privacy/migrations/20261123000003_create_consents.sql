-- The ledger of consents: given and withdrawn are both entries, none is ever changed.
create table consent_entries (
    entry_id    uuid        not null,
    consent_id  uuid        not null,
    account_id  uuid        not null,
    purpose     text        not null,
    action      text        not null,
    text_sha256 text        not null,
    recorded_at timestamptz not null,
    constraint consent_entries_pkey primary key (entry_id),
    constraint consent_entries_consent_id_action_key unique (consent_id, action),
    constraint consent_entries_action_check check (action in ('given', 'withdrawn'))
);
create index consent_entries_account_id_idx on consent_entries (account_id, purpose, entry_id);

-- A single-use consent and the one act that it was used for.
create table consent_uses (
    consent_id uuid        not null,
    use_id     uuid        not null,
    used_at    timestamptz not null,
    constraint consent_uses_pkey primary key (consent_id)
);

-- A guardian's consent for a minor, given and withdrawn as entries.
create table guardian_entries (
    entry_id            uuid        not null,
    ward_account_id     uuid        not null,
    guardian_account_id uuid        not null,
    action              text        not null,
    recorded_at         timestamptz not null,
    constraint guardian_entries_pkey primary key (entry_id),
    constraint guardian_entries_action_check check (action in ('given', 'withdrawn')),
    constraint guardian_entries_other_check check (ward_account_id <> guardian_account_id)
);
create index guardian_entries_ward_account_id_idx on guardian_entries (ward_account_id, entry_id);

-- What the entries say now, one row an account: privacy's part of the account's standing.
create table gates (
    account_id       uuid        not null,
    version          bigint      not null,
    core_consent     boolean     not null,
    guardian_consent boolean     not null,
    changed_at       timestamptz not null,
    constraint gates_pkey primary key (account_id)
);
create index gates_changed_at_idx on gates (changed_at);

-- What operators did here.
create table operator_actions (
    action_id   uuid        not null,
    operator_id uuid        not null,
    action      text        not null,
    object_id   uuid        not null,
    acted_at    timestamptz not null,
    constraint operator_actions_pkey primary key (action_id)
);

create trigger consent_entries_append_only before update or delete on consent_entries
    for each row execute function refuse_change();
create trigger consent_uses_append_only before update or delete on consent_uses
    for each row execute function refuse_change();
create trigger guardian_entries_append_only before update or delete on guardian_entries
    for each row execute function refuse_change();
create trigger operator_actions_append_only before update or delete on operator_actions
    for each row execute function refuse_change();
