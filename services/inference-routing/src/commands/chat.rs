//! A request is read and admitted; then its call waits for its turn, is paid for and runs by itself.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, info_span};
use wanwu_clock::SharedClock;
use wanwu_ids::{AccountId, AppId, CallId, Ids, KeyId};

use super::{
    client::{Client, Reply},
    gen_ai::{CallSpan, Times},
    refused::counted,
    run_call::{Call, Got},
    turn::Seat,
    waited::waited,
};
use crate::{
    catalogue::{Catalogue, Model},
    config::{ChatConfig, EngineConfig},
    credit::{Credit, Hold},
    devices::Devices,
    domain::{
        fair_queue::Turn, lease_purse::Ask, lease_scope::Class, request_body::RequestBody,
        screen::Screen, shape::Shape, usage::estimated_input,
    },
    engine::client::EngineClient,
    error::Error,
    journal::{Dispatch, Journal, Refusal, epoch::Epoch},
    limiter::{Limiter, Permit},
    routes::{Routes, Way},
};

/// The longest idempotency key, in characters.
const MAX_KEY_CHARS: usize = 128;

/// Everything that chat calls need.
pub struct Chat {
    /// The models.
    pub catalogue: Arc<Catalogue>,
    /// Where names go.
    pub routes: Arc<Routes>,
    /// Room for copies of calls.
    pub copies: Arc<Semaphore>,
    /// The lexicon.
    pub screen: Arc<Screen>,
    /// What apps demand of devices.
    pub devices: Devices,
    /// The limits.
    pub limiter: Arc<Limiter>,
    /// The credit.
    pub credit: Arc<Credit>,
    /// The journal.
    pub journal: Journal,
    /// The epoch that writes it.
    pub epoch: Arc<Epoch>,
    /// The way to engines.
    pub engines: EngineClient,
    /// Limits of calls.
    pub config: ChatConfig,
    /// Limits of engines.
    pub engine_config: EngineConfig,
    /// Makes the ids of calls.
    pub ids: Ids,
    /// When calls begin and end.
    pub clock: SharedClock,
    /// Calls run to their end here, whatever becomes of their clients.
    pub calls: TaskTracker,
}

/// An application that calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Who pays.
    pub account_id: AccountId,
    /// The app.
    pub app_id: AppId,
    /// The key.
    pub key_id: KeyId,
}

/// One request.
#[derive(Clone, Debug)]
pub struct CreateCall {
    /// What kind of request it is.
    pub shape: Shape,
    /// Who calls.
    pub caller: Caller,
    /// The JSON of the OpenAI request.
    pub body: Bytes,
    /// The end user's device; empty: none.
    pub device_token: String,
    /// The client's key of this call; empty: none.
    pub idempotency_key: String,
}

/// A request that was read.
struct Asked {
    call_id: CallId,
    caller: Caller,
    device_token: String,
    idempotency_key: Option<String>,
    body: RequestBody,
    way: Way,
}

/// A request that may run as soon as it has its turn and is paid for.
struct Admitted {
    call_id: CallId,
    caller: Caller,
    idempotency_key: Option<String>,
    body: RequestBody,
    way: Way,
    /// The bound of what it can cost.
    ask: Ask,
    permit: Permit,
    times: Times,
}

impl Chat {
    /// Begins a call; answers when its first frame may be sent, or, as a stream, when that is long in
    /// coming.
    pub async fn create(self: &Arc<Self>, request: CreateCall) -> Result<Reply, Error> {
        // From here on the client waits, whatever for.
        let times = Times::begin();
        let span = CallSpan::current();
        let asked = self.read(request, &span);
        let asked = asked.map_err(|error| counted(error, None))?;
        let model = asked.way.priced.clone();
        let admitted = self.admit(asked, times, &span).await;
        let reply = admitted.map_err(|error| counted(error, Some(&model.config.name)))?;
        reply.begun(self.config.begin_after).await
    }

    /// What is asked, and which way it goes.
    fn read(&self, request: CreateCall, span: &CallSpan) -> Result<Asked, Error> {
        let idempotency_key = idempotency_key(request.idempotency_key)?;
        let body = RequestBody::parse(request.shape, request.body)?;
        let call_id: CallId = self.ids.id();
        let way = self.routes.way(
            &self.catalogue,
            body.model(),
            request.caller.account_id,
            call_id,
            self.clock.now(),
        );
        span.asked(&body, way.is_ok());
        Ok(Asked {
            call_id,
            caller: request.caller,
            device_token: request.device_token,
            idempotency_key,
            body,
            way: way?,
        })
    }

    /// Lets a call run once it may. It waits for its turn and for credit by itself, so that its client need
    /// not wait for the head of a stream as long as for those.
    async fn admit(
        self: &Arc<Self>,
        asked: Asked,
        times: Times,
        span: &CallSpan,
    ) -> Result<Reply, Error> {
        let Asked {
            call_id,
            caller,
            body,
            ..
        } = asked;
        let shape = body.shape();
        let way = asked.way.for_shape(shape)?;
        let model = way.first.clone();
        self.devices
            .admit(caller.app_id, &asked.device_token, shape.capability())
            .await?;
        span.called(call_id);
        self.screen_input(&body, call_id, caller.account_id, span)
            .await?;
        if !self.is_ready() {
            return Err(Error::JournalUnavailable);
        }
        let images = body.image_tokens(model.config.image_tokens)?;
        let ask = self.ask(&body, &way, caller, images);
        let use_at_most = highest_use(&body, &ask, images);
        let admitted = self.limiter.admit(caller.ids(), use_at_most);
        let permit = waited(admitted, || info_span!("inference.limits")).await?;
        let label = model.labeller.label(call_id);
        let (client, reply) = Reply::channel(call_id, label, body.stream(), way.notice);
        let admitted = Admitted {
            call_id,
            caller,
            idempotency_key: asked.idempotency_key,
            body,
            way,
            ask,
            permit,
            times,
        };
        let running = self.clone().run(admitted, client);
        self.calls.spawn(running.instrument(Span::current()));
        Ok(reply)
    }

    /// Runs a call to its end when it has its turn and is paid for. One whose client goes away before that
    /// was not made.
    async fn run(self: Arc<Self>, admitted: Admitted, client: Client) {
        let got = tokio::select! {
            biased;
            () = client.gone() => return,
            got = self.turn_and_credit(&admitted) => got,
        };
        let (seat, hold) = match got {
            Ok(got) => got,
            Err(error) => {
                let refused = counted(error, Some(&admitted.way.priced.config.name));
                // What it held of limits is free when its client learns of it.
                drop(admitted);
                return client.refuse(refused).await;
            }
        };
        let Admitted {
            call_id,
            caller,
            idempotency_key: key,
            body,
            way,
            permit,
            times,
            ..
        } = admitted;
        let row = Arc::new(self.dispatch_row(call_id, caller, &way.priced, &hold, key));
        let got = Got { permit, seat, hold };
        Call::new(self, way, body, row, got, client, times)
            .run()
            .await;
    }

    async fn turn_and_credit(self: &Arc<Self>, admitted: &Admitted) -> Result<(Seat, Hold), Error> {
        let (caller, permit) = (admitted.caller, &admitted.permit);
        let turn = Turn {
            account: caller.account_id,
            app: caller.app_id,
            account_priority: permit.account_priority,
            key_priority: permit.key_priority,
            again: false,
        };
        let until = Instant::now() + self.config.queue_timeout;
        let mut seat = Seat::take(&admitted.way, turn, until).await?;
        let held = self.credit.hold(caller.account_id, &admitted.ask);
        let hold = waited(held, || {
            // Others may use the engine meanwhile, or whoever has no credit would keep it from them.
            seat.arrived();
            info_span!("inference.hold")
        });
        let hold = hold.await?;
        Ok((seat, hold))
    }

    /// Calls may be dispatched.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.epoch.is_fresh() && self.limiter.is_ready() && self.routes.are_read()
    }

    /// The bound of what the call can cost.
    fn ask(&self, body: &RequestBody, way: &Way, caller: Caller, images: u64) -> Ask {
        let config = &way.first.config;
        // No engine makes an answer that is longer than its context.
        let longest = u64::from(config.context_tokens);
        let default = body.shape().default_output(config.default_max_tokens);
        let output = body.max_tokens().unwrap_or(default).min(longest);
        let least = if body.max_tokens().is_some() {
            output
        } else {
            self.least(output)
        };
        let template = config.template_allowance_tokens * body.prompts();
        Ask {
            class: Class {
                app: caller.app_id,
                key: caller.key_id,
                model: way.priced.config.name.clone(),
            },
            input: body.bytes() + template + images,
            answers: body.answers_made(),
            output,
            least_output: least,
        }
    }

    fn least(&self, output: u64) -> u64 {
        self.config.least_output_tokens.max(1).min(output)
    }

    async fn screen_input(
        &self,
        body: &RequestBody,
        call_id: CallId,
        account_id: AccountId,
        span: &CallSpan,
    ) -> Result<(), Error> {
        let class = self.forbidden_class(body, span)?;
        let Some(class) = class else { return Ok(()) };
        metrics::counter!("inference_routing_violations", "side" => "input").increment(1);
        let refusal = Refusal {
            call_id,
            account_id,
            class_code: class.to_owned(),
            traceparent: wanwu_events::traceparent(&Span::current()),
        };
        // It is refused in any case; the event is told if it can be.
        if self.journal.refuse(refusal).await.is_err() {
            tracing::warn!(call.id = %call_id, "a refused input could not be told");
        }
        Err(Error::ContentRefused {
            class: class.to_owned(),
        })
    }

    /// The class of the first text that may not be asked, as a step of the trace.
    fn forbidden_class(&self, body: &RequestBody, span: &CallSpan) -> Result<Option<&str>, Error> {
        let step = || info_span!("inference.screen", screen.class = tracing::field::Empty);
        let step = span.step(step).entered();
        let mut class = None;
        body.each_text(&mut |text| {
            class = self.screen.read(&mut self.screen.window(), text).err();
            class.is_none()
        })?;
        if let Some(class) = class {
            step.record("screen.class", class);
        }
        Ok(class)
    }

    fn dispatch_row(
        &self,
        call_id: CallId,
        caller: Caller,
        model: &Model,
        hold: &Hold,
        idempotency_key: Option<String>,
    ) -> Dispatch {
        let held = hold.held();
        Dispatch {
            call_id,
            lease_id: held.lease,
            account_id: caller.account_id,
            app_id: caller.app_id,
            key_id: caller.key_id,
            model: model.config.name.clone(),
            prices: held.prices,
            bound: held.bound,
            traceparent: wanwu_events::traceparent(&Span::current()),
            dispatched_at: self.clock.now(),
            idempotency_key,
        }
    }
}

impl Caller {
    const fn ids(self) -> (AccountId, AppId, KeyId) {
        (self.account_id, self.app_id, self.key_id)
    }
}

/// What a call takes of limits of tokens: its prompt as it is estimated, its answers at their
/// longest.
fn highest_use(body: &RequestBody, ask: &Ask, images: u64) -> u64 {
    estimated_input(body.message_bytes())
        .saturating_add(images)
        .saturating_add(ask.answers.saturating_mul(ask.output))
}

fn idempotency_key(text: String) -> Result<Option<String>, Error> {
    let length = text.chars().count();
    if length > MAX_KEY_CHARS || text.contains('\0') {
        let problem = format!("has at most {MAX_KEY_CHARS} characters");
        return Err(Error::InvalidArgument {
            field: "idempotency_key",
            problem,
        });
    }
    Ok(Some(text).filter(|_| length > 0))
}
