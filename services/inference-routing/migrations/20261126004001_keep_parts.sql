-- Prices other than those of tokens of prompt and answer, and what was counted at them, by the name of
-- the unit (libs/tariff). Null: none. The version before writes and recovers calls without them; they are
-- charged as tokens of prompt and answer then.
alter table calls
    add column price_tier integer not null default 0,
    add column unit_prices jsonb,
    add column progress_parts jsonb,
    add column parts jsonb;

alter table calls
    drop constraint calls_usage_source_check,
    add constraint calls_usage_source_check
        check (usage_source is null or usage_source in ('engine', 'progress', 'tokenizer', 'estimate'))
        not valid;
