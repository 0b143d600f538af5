use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};
use wanwu_ids::{OperatorId, PriceProposalId};
use wanwu_tariff::{Prices, Unit};

use crate::domain::price::PriceList;

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for another operator.
    Proposed,
    /// It is published.
    Published,
    /// It was refused or taken back.
    Refused,
}

/// A price list that an operator handed in.
#[derive(Clone, Debug)]
pub struct PriceProposal {
    /// The proposal.
    pub proposal_id: PriceProposalId,
    /// Where it stands.
    pub state: State,
    /// The list; its version is 0 until it is published.
    pub list: PriceList,
    /// Who handed it in.
    pub proposed_by: OperatorId,
    /// Who decided.
    pub decided_by: Option<OperatorId>,
    /// When it was handed in.
    pub proposed_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
}

/// Tiers and prices, as stored.
#[derive(Deserialize, Serialize)]
struct Content {
    tiers: Vec<i64>,
    prices: Vec<Price>,
}

#[derive(Deserialize, Serialize)]
struct Price {
    tier: i32,
    model: String,
    unit: Unit,
    nanos_per_unit: i64,
}

#[derive(FromRow)]
struct Row {
    proposal_id: PriceProposalId,
    effective_at: DateTime<Utc>,
    content: Json<Content>,
    state: String,
    version: Option<i32>,
    proposed_by: OperatorId,
    decided_by: Option<OperatorId>,
    proposed_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

impl State {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Published => "published",
            Self::Refused => "refused",
        }
    }

    fn from_stored(text: &str) -> Option<Self> {
        [Self::Proposed, Self::Published, Self::Refused]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Content {
    fn of(list: &PriceList) -> Self {
        let prices = list.prices.iter().flat_map(|((model, tier), prices)| {
            prices.units().map(|(unit, nanos_per_unit)| Price {
                tier: *tier,
                model: model.clone(),
                unit,
                nanos_per_unit,
            })
        });
        Self {
            tiers: list.tiers.clone(),
            prices: prices.collect(),
        }
    }

    fn prices(self) -> BTreeMap<(String, i32), Prices> {
        let mut prices = BTreeMap::new();
        for price in self.prices {
            let of_model = prices
                .entry((price.model, price.tier))
                .or_insert(Prices::NONE);
            *of_model = of_model.with(price.unit, price.nanos_per_unit);
        }
        prices
    }
}

impl TryFrom<Row> for PriceProposal {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let state = State::from_stored(&row.state)
            .ok_or_else(|| sqlx::Error::Decode("unknown state of a proposal".into()))?;
        Ok(Self {
            proposal_id: row.proposal_id,
            state,
            list: PriceList {
                version: row.version.unwrap_or_default(),
                effective_at: row.effective_at,
                tiers: row.content.0.tiers.clone(),
                prices: row.content.0.prices(),
            },
            proposed_by: row.proposed_by,
            decided_by: row.decided_by,
            proposed_at: row.proposed_at,
            decided_at: row.decided_at,
        })
    }
}

/// Writes a new proposal.
pub async fn insert(tx: &mut PgConnection, proposal: &PriceProposal) -> sqlx::Result<()> {
    sqlx::query(
        "insert into price_proposals
             (proposal_id, effective_at, content, state, proposed_by, proposed_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(proposal.proposal_id)
    .bind(proposal.list.effective_at)
    .bind(Json(Content::of(&proposal.list)))
    .bind(proposal.state.as_str())
    .bind(proposal.proposed_by)
    .bind(proposal.proposed_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The proposal with this id.
pub async fn find(
    tx: &mut PgConnection,
    id: PriceProposalId,
) -> sqlx::Result<Option<PriceProposal>> {
    let row: Option<Row> = sqlx::query_as("select * from price_proposals where proposal_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The proposal with this id, locked until the transaction ends.
pub async fn lock(
    tx: &mut PgConnection,
    id: PriceProposalId,
) -> sqlx::Result<Option<PriceProposal>> {
    let row: Option<Row> =
        sqlx::query_as("select * from price_proposals where proposal_id = $1 for update")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what was decided about a proposal that the transaction holds.
pub async fn save(tx: &mut PgConnection, proposal: &PriceProposal) -> sqlx::Result<()> {
    sqlx::query(
        "update price_proposals set state = $2, version = $3, decided_by = $4, decided_at = $5
         where proposal_id = $1",
    )
    .bind(proposal.proposal_id)
    .bind(proposal.state.as_str())
    .bind(Some(proposal.list.version).filter(|version| *version > 0))
    .bind(proposal.decided_by)
    .bind(proposal.decided_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Proposals, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    before: Option<PriceProposalId>,
    limit: i64,
) -> sqlx::Result<Vec<PriceProposal>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from price_proposals where $1::uuid is null or proposal_id < $1
         order by proposal_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}
