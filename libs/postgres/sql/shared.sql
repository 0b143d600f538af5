-- Requests that create something: the same request_id gives the same answer, once.
create table requests (
    method text not null,
    caller text not null,
    request_id uuid not null,
    body_mac bytea not null constraint requests_body_mac_check check (octet_length(body_mac) = 32),
    object_id uuid not null,
    created_at timestamptz not null,
    -- null: kept for ever, as for money
    kept_until timestamptz,
    constraint requests_pkey primary key (method, caller, request_id)
);
create index requests_kept_until_idx on requests (kept_until) where kept_until is not null;

-- The region that this database belongs to; one row.
create table database_marks (
    region text not null,
    only_one boolean not null default true constraint database_marks_only_one_check check (only_one),
    constraint database_marks_pkey primary key (only_one)
);
