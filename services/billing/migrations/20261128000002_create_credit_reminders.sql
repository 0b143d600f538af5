-- What enterprises were told of a month that they owe of: that it is due, and when its time was over, that it
-- is overdue or (nothing was said) that it was paid. Append-only.
create table credit_reminders (
    account_id uuid        not null,
    month      date        not null,
    kind       text        not null,
    told_at    timestamptz not null,
    constraint credit_reminders_pkey primary key (account_id, month, kind),
    constraint credit_reminders_due_fkey foreign key (account_id, month) references credit_dues,
    constraint credit_reminders_kind_check check (kind in ('due', 'overdue', 'paid'))
);
create trigger credit_reminders_append_only before update or delete on credit_reminders
    for each row execute function refuse_change();
create trigger credit_reminders_no_truncate before truncate on credit_reminders
    for each statement execute function refuse_change();
revoke update, delete, truncate on credit_reminders from current_user;
