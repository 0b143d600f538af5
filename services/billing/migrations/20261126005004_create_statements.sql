-- The statement of an account and a month, as it was made: it never changes.
create table monthly_statements (
    account_id    uuid        not null,
    -- Its first day.
    month         date        not null,
    opening_nanos bigint      not null,
    closing_nanos bigint      not null,
    lines         bigint      not null,
    size          bigint      not null,
    parts         integer     not null,
    sha256        bytea       not null,
    key_id        text        not null,
    signature     bytea       not null,
    made_at       timestamptz not null,
    constraint monthly_statements_pkey primary key (account_id, month),
    constraint monthly_statements_month_check check (extract(day from month) = 1),
    constraint monthly_statements_sha256_check check (octet_length(sha256) = 32),
    constraint monthly_statements_signature_check check (octet_length(signature) = 64)
);
create trigger monthly_statements_append_only before update or delete on monthly_statements
    for each row execute function refuse_change();
create trigger monthly_statements_no_truncate before truncate on monthly_statements
    for each statement execute function refuse_change();

create table monthly_statement_parts (
    account_id uuid    not null,
    month      date    not null,
    number     integer not null,
    content    bytea   not null,
    constraint monthly_statement_parts_pkey primary key (account_id, month, number),
    -- The parts are written first, and the statement in the same transaction.
    constraint monthly_statement_parts_statement_fkey foreign key (account_id, month)
        references monthly_statements deferrable initially deferred,
    constraint monthly_statement_parts_content_check check (octet_length(content) <= 262144)
);
create trigger monthly_statement_parts_append_only before update or delete on monthly_statement_parts
    for each row execute function refuse_change();
create trigger monthly_statement_parts_no_truncate before truncate on monthly_statement_parts
    for each statement execute function refuse_change();

-- Months of which every account's statement is made.
create table statement_months (
    month   date        not null,
    made_at timestamptz not null,
    constraint statement_months_pkey primary key (month)
);
