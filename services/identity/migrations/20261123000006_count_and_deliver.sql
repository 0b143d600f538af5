-- What became of the message that carries a code.
alter table codes add column delivery text not null default 'sending'
    constraint codes_delivery_check check (delivery in ('sending', 'sent', 'failed'));

-- What people are to be told: written with the event's inbox row, sent after that is committed.
create table notifications (
    notification_id uuid        not null,
    account_id      uuid        not null,
    template        text        not null,
    params          jsonb       not null,
    requested_at    timestamptz not null,
    attempts        integer     not null default 0,
    -- when it is tried next; null once it was sent or given up
    next_at         timestamptz,
    sent_at         timestamptz,
    error           text,
    constraint notifications_pkey primary key (notification_id),
    constraint notifications_account_id_fkey foreign key (account_id) references accounts
);
create index notifications_next_at_idx on notifications (next_at) where next_at is not null;
create index notifications_requested_at_idx on notifications (requested_at);

-- Sign-ins of operators that were tried, by the name that was typed, known or not: counted and
-- committed before anything is compared. `operators.failures` and `failures_since` are not read
-- any more; they go once no running build writes them.
create table operator_attempts (
    name     text        not null,
    attempts integer     not null,
    since    timestamptz not null,
    constraint operator_attempts_pkey primary key (name)
);
create index operator_attempts_since_idx on operator_attempts (since);

create trigger audit_entries_never_emptied before truncate on audit_entries
    for each statement execute function refuse_change();

create index refresh_tokens_session_id_idx on refresh_tokens (session_id);
create index refresh_tokens_expires_at_idx on refresh_tokens (expires_at);
