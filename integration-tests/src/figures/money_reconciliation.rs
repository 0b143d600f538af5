//! A day's bill with known differences: each is found and nothing else.

use std::{collections::BTreeSet, time::Instant};

use billing::domain::reconciliation::{Kind, Payment, compare};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use uuid::Uuid;

use super::{Figure, Kind as FigureKind, Reading, Tier};

const LINES: usize = 100_000;
const DIFFERENCES: usize = 100;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-reconciliation",
        claim: "a bill of 100,000 lines with 100 differences: each found, none invented",
        kind: FigureKind::Correctness,
        measure: |_, tier| Box::pin(measure(tier)),
    }
}

async fn measure(tier: Tier) -> anyhow::Result<Reading> {
    let days = match tier {
        Tier::Quick => 3,
        Tier::Full => 100,
    };
    let (mut found, mut invented) = (0, 0);
    let mut took = std::time::Duration::ZERO;
    for seed in 0..days {
        let (bill, booked, planted) = day(seed);
        let begin = Instant::now();
        let result = compare(&bill, &booked);
        took += begin.elapsed();
        let told: BTreeSet<_> = result
            .differences
            .into_iter()
            .map(|difference| (difference.transaction, difference.kind))
            .collect();
        found += planted.intersection(&told).count();
        invented += told.difference(&planted).count();
    }
    let all = DIFFERENCES * days as usize;
    let each = took / u32::try_from(days).unwrap_or(1);
    println!(
        "  {days} bills of {LINES} lines, {each:.1?} each: {found} of {all} found, {invented} invented"
    );
    Ok(Reading {
        figure: format!("{found} of {all}, {invented} invented"),
        unit: format!("differences in bills of {LINES} lines"),
        goal: format!("{all} of {all}, 0 invented"),
        holds: found == all && invented == 0,
    })
}

/// What a provider bills, what was booked, and how they differ.
fn day(seed: u64) -> (Vec<Payment>, Vec<Payment>, BTreeSet<(String, Kind)>) {
    let mut chance = StdRng::seed_from_u64(seed);
    let booked: Vec<_> = (0..LINES).map(|number| payment(number as u128)).collect();
    let mut bill = booked.clone();
    bill.shuffle(&mut chance);
    let mut planted = BTreeSet::new();
    let mut gone = Vec::new();
    for place in 0..DIFFERENCES {
        let kind = Kind::ALL[place % Kind::ALL.len()];
        match kind {
            Kind::NotBooked => bill.push(payment((LINES + place) as u128)),
            Kind::NotBilled => gone.push(bill[place].transaction.clone()),
            Kind::Amount => bill[place].fen += 1,
            Kind::Order => bill[place].order = Some(Uuid::from_u128(u128::MAX)),
            Kind::BilledTwice => bill.push(bill[place].clone()),
        }
        let transaction = match kind {
            Kind::NotBooked => bill[bill.len() - 1].transaction.clone(),
            _ => bill[place].transaction.clone(),
        };
        planted.insert((transaction, kind));
    }
    bill.retain(|line| !gone.contains(&line.transaction));
    bill.shuffle(&mut chance);
    (bill, booked, planted)
}

fn payment(number: u128) -> Payment {
    Payment {
        transaction: format!("4200{number:024}"),
        order: Some(Uuid::from_u128(number)),
        fen: 100 + i64::try_from(number % 5_000_000).unwrap_or_default(),
    }
}
