use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, AppId, KeyId};

/// Which usage, and how it is grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose.
    pub account_id: AccountId,
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
    /// Only of this app.
    pub app_id: Option<AppId>,
    /// Only of this key.
    pub key_id: Option<KeyId>,
    /// Only of this model.
    pub model: Option<String>,
    /// By day.
    pub by_day: bool,
    /// By model.
    pub by_model: bool,
    /// By app.
    pub by_app: bool,
    /// By key.
    pub by_key: bool,
}

/// What names a group: what it is not grouped by is the same in all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group(pub NaiveDate, pub String, pub Uuid, pub Uuid);

/// The sums of a group.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Usage {
    /// The day.
    pub day: NaiveDate,
    /// The model.
    pub model: String,
    /// The app.
    pub app_id: Uuid,
    /// The key.
    pub key_id: Uuid,
    /// Calls.
    pub calls: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// What they cost, in 10^-9 CNY.
    pub amount_nanos: i64,
}

impl Usage {
    /// Its group.
    #[must_use]
    pub fn group(&self) -> Group {
        Group(self.day, self.model.clone(), self.app_id, self.key_id)
    }
}

/// The groups in their order, those after `after`.
pub async fn list(
    tx: &mut PgConnection,
    question: &Question,
    after: Option<&Group>,
    limit: i64,
) -> sqlx::Result<Vec<Usage>> {
    let group = after.cloned();
    let (day, model, app_id, key_id) = group.map_or((None, None, None, None), |group| {
        (Some(group.0), Some(group.1), Some(group.2), Some(group.3))
    });
    sqlx::query_as(
        "with grouped as (
             select case when $7 then day else $2 end as day,
                    case when $8 then model else '' end as model,
                    case when $9 then app_id else '00000000-0000-0000-0000-000000000000'::uuid end as app_id,
                    case when $10 then key_id else '00000000-0000-0000-0000-000000000000'::uuid end as key_id,
                    calls, input_tokens, output_tokens, amount_nanos
             from usage_days
             where account_id = $1 and day between $2 and $3
               and ($4::uuid is null or app_id = $4)
               and ($5::uuid is null or key_id = $5)
               and ($6::text is null or model = $6)
         )
         select day, model, app_id, key_id, sum(calls)::bigint as calls,
                sum(input_tokens)::bigint as input_tokens,
                sum(output_tokens)::bigint as output_tokens,
                sum(amount_nanos)::bigint as amount_nanos
         from grouped
         where $11::date is null or (day, model, app_id, key_id) > ($11, $12, $13, $14)
         group by 1, 2, 3, 4
         order by 1, 2, 3, 4 limit $15",
    )
    .bind(question.account_id)
    .bind(question.first)
    .bind(question.last)
    .bind(question.app_id)
    .bind(question.key_id)
    .bind(&question.model)
    .bind(question.by_day)
    .bind(question.by_model)
    .bind(question.by_app)
    .bind(question.by_key)
    .bind(day)
    .bind(model)
    .bind(app_id)
    .bind(key_id)
    .bind(limit)
    .fetch_all(tx)
    .await
}
