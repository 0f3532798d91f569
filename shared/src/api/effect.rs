//! What a request wants of its effect: none of it but whether it would be refused (`validateOnly`), or
//! one and no second one, however often the request comes (`Idempotency-Key`).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::{HeaderValue, Method};

use super::parameters::flag;
use super::respond::{part_of_validation_response, validation_response};
use super::{Problem, Request, Response, path};
use crate::flow::Diagnostic;
use crate::identity::Caller;
use crate::json::canonical_text;
use crate::store::{Error, Receipt, ReceiptKey, Store, StoredAnswer};

/// The header of draft-ietf-httpapi-idempotency-key-header.
const HEADER: &str = "Idempotency-Key";
/// A key may have as many characters.
const MAX_KEY: usize = 255;
/// Says that an answer is not the first of its request.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// What a request wants of its effect.
pub struct Intent {
    key: Option<ReceiptKey>,
    validate_only: bool,
}

impl Intent {
    /// Reads it from a request. A key counts for one caller and one route, and only with `POST`: the other
    /// methods are idempotent by themselves.
    ///
    /// # Errors
    /// 400 when the parameter is neither true nor false, or the key is none.
    pub fn of(request: &Request, caller: &Caller) -> Result<Self, Problem> {
        let validate_only = flag(request, "validateOnly")?;
        let key = if request.method() == Method::POST && !validate_only { read_key(request)? } else { None };
        let key = key.map(|key| receipt_key(request, caller, &key)).transpose()?;
        Ok(Self { key, validate_only })
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub const fn is_validation(&self) -> bool {
        self.validate_only
    }

    /// The effect of the whole request, which `respond` answers.
    ///
    /// # Errors
    /// [`Problem::Answered`] when the request has been answered; 422 when the key belongs to another one.
    pub async fn effect<'a, T>(
        &self,
        store: &Store,
        respond: &'a Respond<'a, T>,
    ) -> Result<Effect<'a, T>, Problem> {
        Effect::new(store, (self, self.key.clone()), false, respond).await
    }

    /// The request as many parts, each with an effect of its own. One call, and only with a key.
    ///
    /// # Errors
    /// 422 when the key belongs to another request.
    pub async fn parts(&self, store: &Store) -> Result<Parts<'_>, Problem> {
        if let Some(key) = &self.key {
            store.claim(key).await?;
        }
        Ok(Parts(self))
    }
}

/// A request of many parts, whose key is its own.
pub struct Parts<'a>(&'a Intent);

impl Parts<'_> {
    /// The effect of one of them.
    ///
    /// # Errors
    /// As [`Intent::effect`].
    pub async fn effect<'a, T>(
        &self,
        store: &Store,
        index: usize,
        respond: &'a Respond<'a, T>,
    ) -> Result<Effect<'a, T>, Problem> {
        let key = self.0.key.clone().map(|key| ReceiptKey { id: format!("{}.{index}", key.id), ..key });
        Effect::new(store, (self.0, key), true, respond).await
    }
}

/// Makes the answer of what a request has done.
pub(super) type Respond<'a, T> = dyn Fn(&T) -> Result<Response, Problem> + Send + Sync + 'a;

/// One effect, and how it is answered.
pub struct Effect<'a, T> {
    key: Option<ReceiptKey>,
    validate_only: bool,
    is_part: bool,
    respond: &'a Respond<'a, T>,
}

impl<'a, T> Effect<'a, T> {
    async fn new(
        store: &Store,
        (intent, key): (&Intent, Option<ReceiptKey>),
        is_part: bool,
        respond: &'a Respond<'a, T>,
    ) -> Result<Self, Problem> {
        if let Some(key) = &key
            && let Some(answer) = store.answer_of(key).await?
        {
            return Err(Problem::replay(answer));
        }
        Ok(Self { key, validate_only: intent.validate_only, is_part, respond })
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub const fn is_validation(&self) -> bool {
        self.validate_only
    }

    /// Why a request is refused; unless the same one has just been carried out, which may be why.
    pub(super) async fn refused(&self, store: &Store, problem: Problem) -> Problem {
        match &self.key {
            Some(key) if problem.status().is_client_error() => match store.answer_of(key).await {
                Ok(Some(answer)) => Problem::replay(answer),
                Ok(None) | Err(Error::KeyReused) => problem,
                // The refusal stands without it.
                Err(error) => {
                    tracing::warn!(error = %error, "receipt.not_read");
                    problem
                }
            },
            _ => problem,
        }
    }

    /// The answer to a write that would be made, with what there is to say about its document if that is new.
    ///
    /// # Errors
    /// 500 when it cannot be written as JSON.
    pub fn validated(&self, found: &[Diagnostic]) -> Result<Problem, Problem> {
        let response =
            if self.is_part { part_of_validation_response(found) } else { validation_response(found) };
        Ok(Problem::Answered(Box::new(stored(&response?))))
    }

    /// The answer to what was done.
    ///
    /// # Errors
    /// 500 when it cannot be written as JSON.
    pub fn answer(&self, result: &T) -> Result<Response, Problem> {
        (self.respond)(result)
    }

    /// What is kept together with the effect, if the request may come again.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn receipt(&self, result: &T) -> Result<Option<Receipt>, Problem> {
        let Some(key) = self.key.clone() else { return Ok(None) };
        Ok(Some(Receipt { key, answer: stored(&self.answer(result)?) }))
    }
}

/// The name of a request by its key, and what depends on what it says.
fn receipt_key(request: &Request, caller: &Caller, key: &str) -> Result<ReceiptKey, Problem> {
    let scope = format!("{:?}", (&caller.sub, &caller.tenant, request.method(), path(request), key));
    let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, scope.as_bytes()));
    // Bodies may hold secrets: without the key nobody can try which one it was.
    let keyed = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let (query, body) = (request.uri().query(), request.body().as_ref());
    let fingerprint = URL_SAFE_NO_PAD.encode(hmac::sign(&keyed, &said_bytes((query, body))));
    let meaning = std::str::from_utf8(body).ok().and_then(canonical_text).map(|text| {
        let said = [b"value of ", said_bytes((query, text.as_bytes())).as_slice()].concat();
        URL_SAFE_NO_PAD.encode(hmac::sign(&keyed, &said))
    });
    let seal = hmac::sign(&keyed, format!("seal of {scope}").as_bytes());
    let seal = seal.as_ref().try_into().map_err(|_| Problem::Internal("a seal has another size".into()))?;
    Ok(ReceiptKey { id, fingerprint, meaning, seal })
}

/// Both parts of what a request says, so that none can pass for the other.
fn said_bytes((query, body): (Option<&str>, &[u8])) -> Vec<u8> {
    let query = query.unwrap_or_default();
    let mut said = query.len().to_be_bytes().to_vec();
    said.extend_from_slice(query.as_bytes());
    said.extend_from_slice(body);
    said
}

/// The key, with or without the quotation marks of a structured field (RFC 9651, 3.3.3). Two of them are none, also
/// where a gateway has joined them: a comma is part of a key in quotation marks alone.
fn read_key(request: &Request) -> Result<Option<String>, Problem> {
    let invalid = || Problem::InvalidParameters(vec![HEADER.into()]);
    let mut values = request.headers().get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| invalid())?.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let is_one = !key.contains(if quoted.is_some() { &['"'][..] } else { &['"', ','] });
    if values.next().is_some() || !is_one || key.is_empty() || key.len() > MAX_KEY {
        return Err(invalid());
    }
    Ok(Some(key.to_owned()))
}

/// An answer in the form in which it is kept.
pub(super) fn stored(response: &Response) -> StoredAnswer {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    StoredAnswer {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8_lossy(response.body().as_ref()).into_owned(),
    }
}
