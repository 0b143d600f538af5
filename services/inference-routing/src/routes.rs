//! The routes that hold, followed as they change, and where a name goes by them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wanwu_ids::{AccountId, CallId};

use crate::{
    catalogue::{Catalogue, Model},
    domain::{
        route::{Notice, Route},
        shape::Shape,
    },
    error::Error,
    store::routes,
};

/// How often changes are looked for.
const EVERY: Duration = Duration::from_secs(1);

/// The routes that hold.
#[derive(Debug, Default)]
pub struct Routes {
    by_name: ArcSwap<BTreeMap<String, Route>>,
    read: AtomicBool,
}

/// Where one call goes.
#[derive(Debug)]
pub struct Way {
    /// The model that is asked first.
    pub first: Arc<Model>,
    /// Models that are asked when it does not answer.
    pub fallbacks: Vec<Arc<Model>>,
    /// The model whose prices are charged.
    pub priced: Arc<Model>,
    /// The model that gets a copy.
    pub copied_to: Option<Arc<Model>>,
    /// What the client is told of the name's end.
    pub notice: Notice,
}

impl Way {
    /// A model of the way: 0 is the first, then come the fallbacks.
    #[must_use]
    pub fn model(&self, at: usize) -> &Arc<Model> {
        match at {
            0 => &self.first,
            at => &self.fallbacks[at - 1],
        }
    }

    /// The way of a request of this shape: only models whose engines know it.
    pub fn for_shape(mut self, shape: Shape) -> Result<Self, Error> {
        let knows = |model: &Arc<Model>| model.config.shapes().contains(&shape);
        let asked = self.first.clone();
        self.fallbacks.retain(knows);
        self.copied_to = self.copied_to.filter(knows);
        if !knows(&self.first) {
            if self.fallbacks.is_empty() {
                return Err(Error::ShapeNotServed {
                    model: asked.config.name.clone(),
                    shape,
                    served: asked.config.shapes().to_vec(),
                });
            }
            self.first = self.fallbacks.remove(0);
        }
        Ok(self)
    }
}

impl Routes {
    /// They were read once.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// Where a call goes that asks for a name.
    pub fn way(
        &self,
        catalogue: &Catalogue,
        name: &str,
        account: AccountId,
        call: CallId,
        now: DateTime<Utc>,
    ) -> Result<Way, Error> {
        let routes = self.by_name.load();
        let Some(route) = routes.get(name) else {
            let model = catalogue.find(name).ok_or(Error::ModelNotFound)?;
            return Ok(Way {
                first: model.clone(),
                fallbacks: Vec::new(),
                priced: model.clone(),
                copied_to: None,
                notice: Notice::default(),
            });
        };
        if !route.is_for(account) {
            return Err(Error::ModelNotFound);
        }
        if route.is_over(now) {
            return Err(Error::ModelRetired {
                model: name.to_owned(),
            });
        }
        // The last half of a call's id is chance.
        let (_, chance) = call.uuid().as_u64_pair();
        let known = |model: &str| catalogue.find(model).cloned();
        let priced = route.targets.first().and_then(|first| known(&first.model));
        // A model that left the catalogue since leaves its calls to the others.
        let first = known(route.target(chance >> 10)).or_else(|| {
            let mut others = route.targets.iter().map(|target| target.model.as_str());
            let names = others
                .by_ref()
                .chain(route.fallbacks.iter().map(String::as_str));
            names.into_iter().find_map(known)
        });
        let first = first.ok_or(Error::ModelNotFound)?;
        let fallbacks = route.fallbacks.iter().filter_map(|model| known(model));
        Ok(Way {
            fallbacks: fallbacks
                .filter(|model| model.config.name != first.config.name)
                .collect(),
            priced: priced.unwrap_or_else(|| first.clone()),
            copied_to: route.copied_to(chance).and_then(known),
            notice: route.notice(),
            first,
        })
    }

    /// Every name that exists for an account, with its model and what is told of its end.
    #[must_use]
    pub fn names(
        &self,
        catalogue: &Catalogue,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Vec<(String, Arc<Model>, Notice)> {
        let routes = self.by_name.load();
        let models = catalogue
            .models()
            .filter(|model| !routes.contains_key(&model.config.name))
            .map(|model| (model.config.name.clone(), model.clone(), Notice::default()));
        let routed = routes
            .values()
            .filter(|route| route.is_for(account) && !route.is_over(now))
            .filter_map(|route| {
                let first = route.targets.first()?;
                let model = catalogue.find(&first.model)?.clone();
                Some((route.name.clone(), model, route.notice()))
            });
        let mut names: Vec<_> = models.chain(routed).collect();
        names.sort_unstable_by(|(one, ..), (two, ..)| one.cmp(two));
        names
    }

    /// Follows changes until `stop`.
    pub async fn follow(&self, pool: &PgPool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match routes::in_force(pool).await {
                Ok(kept) => {
                    let by_name = kept
                        .into_iter()
                        .map(|kept| (kept.route.name.clone(), kept.route));
                    self.by_name.store(Arc::new(by_name.collect()));
                    self.read.store(true, Ordering::Release);
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "routes cannot be read: the known ones hold"
                ),
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
