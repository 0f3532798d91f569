//! Receipts: what a request was answered that may come again, kept in one transaction with its effect.
//! Only who has the key of the request can read it: answers show parts of secrets.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{Error, Item, Store, Written, item, keys, packing, refused, size};
use crate::flow::Timestamp;

/// For so long the same request has no second effect.
const KEPT: Duration = Duration::from_hours(24);

/// A request that may come again.
#[derive(Clone)]
pub struct ReceiptKey {
    /// Names it among all.
    pub id: String,
    /// Tells whether another request of this name is the same, byte for byte.
    pub fingerprint: String,
    /// Tells whether one says the same, if it is JSON, whatever it is written as.
    pub meaning: Option<String>,
    /// Seals the answer.
    pub seal: [u8; 32],
}

/// What the first of several same requests was answered.
#[derive(Clone)]
pub struct Receipt {
    /// Which request.
    pub key: ReceiptKey,
    /// The answer.
    pub answer: StoredAnswer,
}

/// An answer, as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// The text of the body.
    pub body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptItem {
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    /// A [`StoredAnswer`] as JSON, compressed with zstd and then sealed with AES-256-GCM; empty when only the
    /// parts of the request have answers.
    #[serde(with = "serde_bytes")]
    answer: Vec<u8>,
    #[serde(with = "serde_bytes")]
    nonce: Vec<u8>,
    expires_at: u64,
}

impl Receipt {
    fn item(&self) -> Result<Item, Error> {
        let json = serde_json::to_vec(&self.answer).map_err(|error| Error::Unreadable(error.into()))?;
        let mut answer = packing::pack(&json)?;
        let nonce =
            self.key.cipher()?.seal_in_place_append_tag(Aad::empty(), &mut answer).map_err(unreadable)?;
        self.key.item(answer, nonce.as_ref().to_vec())
    }

    /// Why a write with this receipt failed whose place is taken.
    pub(super) fn answered(&self, other: Option<Item>) -> Error {
        match other.map(|item| self.key.read(item)) {
            Some(Ok(Some(answer))) => Error::Answered(Box::new(answer)),
            Some(Err(error)) => error,
            None | Some(Ok(None)) => Error::Unavailable("the receipt of another request is gone".into()),
        }
    }
}

impl ReceiptKey {
    fn cipher(&self) -> Result<RandomizedNonceKey, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.seal).map_err(unreadable)
    }

    fn item(&self, answer: Vec<u8>, nonce: Vec<u8>) -> Result<Item, Error> {
        let expires_at = Timestamp::now().plus(KEPT).seconds();
        let (fingerprint, meaning) = (self.fingerprint.clone(), self.meaning.clone());
        let item = ReceiptItem { fingerprint, meaning, answer, nonce, expires_at };
        item::with_key(self.item_key(), &item)
    }

    fn item_key(&self) -> Item {
        keys::item(&keys::receipt(&self.id), keys::RECEIPT)
    }

    fn read(&self, item: Item) -> Result<Option<StoredAnswer>, Error> {
        let mut item: ReceiptItem = item::read(item)?;
        // The table takes its time to remove what has expired.
        if item.expires_at <= Timestamp::now().seconds() {
            return Ok(None);
        }
        let says_the_same = self.meaning.is_some() && item.meaning == self.meaning;
        if item.fingerprint != self.fingerprint && !says_the_same {
            return Err(Error::KeyReused);
        }
        if item.answer.is_empty() {
            return Ok(None);
        }
        let nonce = Nonce::try_assume_unique_for_key(&item.nonce).map_err(unreadable)?;
        let opened = self.cipher()?.open_in_place(nonce, Aad::empty(), &mut item.answer);
        let answer = serde_json::from_slice(&packing::unpack(opened.map_err(unreadable)?)?);
        answer.map(Some).map_err(|error| Error::Unreadable(error.into()))
    }
}

fn unreadable(error: Unspecified) -> Error {
    Error::Unreadable(error.into())
}

impl Store {
    /// What this request was answered, if it was. One call.
    ///
    /// # Errors
    /// [`Error::KeyReused`]; else see [`Error`].
    pub async fn answer_of(&self, key: &ReceiptKey) -> Result<Option<StoredAnswer>, Error> {
        let item = self.item(key.item_key()).await?;
        Ok(item.map(|item| key.read(item)).transpose()?.flatten())
    }

    /// Keeps what a request of many parts says, so that no other has an effect under its name. One call.
    ///
    /// # Errors
    /// [`Error::KeyReused`]; else see [`Error`].
    pub async fn claim(&self, key: &ReceiptKey) -> Result<(), Error> {
        let write = self.write_new_receipt(key.item(Vec::new(), Vec::new())?)?;
        match self.write_with(vec![write], Some(0)).await? {
            Written::Yes => Ok(()),
            // It is there already; that it expires at this moment is no harm.
            Written::Refused(mut refused) => {
                let found = refused.pop().and_then(|(_, item)| item);
                found.map_or(Ok(()), |item| key.read(item).map(drop))
            }
        }
    }

    /// Keeps the receipt of a request that has no effect. One call.
    pub(super) async fn keep_receipt(&self, receipt: &Receipt) -> Result<(), Error> {
        match self.write_with(vec![self.write_receipt(receipt)?], Some(0)).await? {
            Written::Yes => Ok(()),
            Written::Refused(mut refused) => Err(receipt.answered(refused.pop().and_then(|(_, item)| item))),
        }
    }

    /// Writes a receipt if there is none of its name.
    pub(super) fn write_receipt(&self, receipt: &Receipt) -> Result<TransactWriteItem, Error> {
        self.write_new_receipt(receipt.item()?)
    }

    fn write_new_receipt(&self, item: Item) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(size::fits(item)?))
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", AttributeValue::N(Timestamp::now().seconds().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().put(put.build().map_err(refused)?).build())
    }
}
