-- Where names go that calls ask for: every version that ever was. The newest of a name holds.
create table routes (
    name text not null constraint routes_name_check check (char_length(name) between 1 and 128),
    version bigint not null constraint routes_version_check check (version > 0),
    -- null: the route was ended
    document jsonb,
    operator_id uuid not null,
    changed_at timestamptz not null,
    constraint routes_pkey primary key (name, version)
);
