-- What a guardian allows a minor to buy: each entry takes the place of the one before, none is ever changed.
create table purchase_allowances (
    ward_account_id     uuid        not null,
    version             bigint      not null,
    guardian_account_id uuid        not null,
    order_limit_fen     bigint      not null,
    month_limit_fen     bigint      not null,
    until               timestamptz not null,
    recorded_at         timestamptz not null,
    constraint purchase_allowances_pkey primary key (ward_account_id, version),
    constraint purchase_allowances_other_check check (ward_account_id <> guardian_account_id),
    constraint purchase_allowances_limits_check
        check (order_limit_fen between 0 and month_limit_fen)
);
create trigger purchase_allowances_append_only before update or delete on purchase_allowances
    for each row execute function refuse_change();
