-- Questions about purchases: what people write is sealed under the customer's key.
create table after_sales_cases (
    case_id       uuid        not null,
    account_id    uuid        not null,
    order_id      uuid,
    product_id    text,
    kind          text        not null,
    words_sealed  bytea       not null,
    answer_sealed bytea,
    opened_at     timestamptz not null,
    answered_at   timestamptz,
    answered_by   uuid,
    constraint after_sales_cases_pkey primary key (case_id),
    constraint after_sales_cases_order_id_fkey foreign key (order_id) references orders,
    constraint after_sales_cases_about_check check ((order_id is null) <> (product_id is null)),
    constraint after_sales_cases_kind_check check (kind in ('question', 'not_provided', 'defect')),
    constraint after_sales_cases_answered_check check ((answer_sealed is null) = (answered_at is null)
        and (answered_at is null) = (answered_by is null))
);
create index after_sales_cases_account_id_idx on after_sales_cases (account_id, case_id);
create index after_sales_cases_open_idx on after_sales_cases (case_id) where answered_at is null;
