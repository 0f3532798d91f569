//! What compressing documents saves and takes: none, zstd, and zstd with the dictionary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::http::Error;
use crate::measure::once_more;
use crate::units;
use crate::world::World;

const DICTIONARY: [&str; 2] = ["shared/src/store/dictionary-2.tables", "shared/src/store/dictionary-2.txt"];
/// As `shared/src/store/packing.rs` has them; what is packed here is compared with what that has stored.
const LEVEL: i32 = 4;
const MAX_UNPACKED_BYTES: usize = 3 * 1024 * 1024;

/// By name of the way.
pub(crate) type Compression = BTreeMap<String, Compressed>;

/// What one way makes of the usual flow.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Compressed {
    /// Of the document.
    pub(crate) document: usize,
    /// Of the head with it.
    pub(crate) head: usize,
    /// Of writing the head in a transaction.
    pub(crate) write: f64,
    pub(crate) read: f64,
    /// Instructions.
    pub(crate) pack: u64,
    pub(crate) unpack: u64,
}

/// Compresses a file; what is executed is counted.
#[derive(Args)]
pub(crate) struct Compress {
    /// The document
    file: PathBuf,
    /// Which way
    way: Way,
    /// What is done again and again
    #[arg(long)]
    unpack: bool,
    #[arg(long)]
    times: u64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Way {
    None,
    Zstd,
    Dictionary,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
            Self::Dictionary => "dictionary",
        }
    }
}

/// Both directions of one way.
struct Packing {
    way: Way,
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

impl Packing {
    fn new(root: &Path, way: Way) -> Result<Self, Error> {
        let mut dictionary = Vec::new();
        for file in DICTIONARY.iter().filter(|_| way == Way::Dictionary) {
            dictionary.extend(std::fs::read(root.join(file))?);
        }
        let encoder = EncoderDictionary::copy(&dictionary, LEVEL);
        Ok(Self { way, encoder, decoder: DecoderDictionary::copy(&dictionary) })
    }

    fn pack(&self, json: &[u8]) -> Result<Vec<u8>, Error> {
        match self.way {
            Way::None => Ok(json.to_vec()),
            _ => Ok(Compressor::with_prepared_dictionary(&self.encoder)?.compress(json)?),
        }
    }

    fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, Error> {
        match self.way {
            Way::None => Ok(packed.to_vec()),
            _ => Ok(Decompressor::with_prepared_dictionary(&self.decoder)?
                .decompress(packed, MAX_UNPACKED_BYTES)?),
        }
    }
}

impl Compress {
    pub(crate) fn run(&self, root: &Path) -> Result<(), Error> {
        let packing = Packing::new(root, self.way)?;
        let json = std::fs::read(&self.file)?;
        let packed = packing.pack(&json)?;
        for _ in 0..self.times {
            std::hint::black_box(if self.unpack { packing.unpack(&packed) } else { packing.pack(&json) }?);
        }
        Ok(())
    }
}

/// Of the usual flow, as the local server stores it.
pub(crate) async fn measure(root: &Path, world: &World) -> Result<Compression, Error> {
    let mut head = world.head_of_new_flow().await?;
    let stored = STANDARD.decode(head["document"]["B"].as_str().ok_or("no document")?)?;
    let json = Packing::new(root, Way::Dictionary)?.unpack(&stored)?;
    if stored != Packing::new(root, Way::Dictionary)?.pack(&json)? {
        return Err(format!("shared/src/store/packing.rs packs otherwise than with level {LEVEL}").into());
    }
    let file = world.folder.path().join("document.json");
    std::fs::write(&file, &json)?;
    let mut compression = Compression::new();
    for way in [Way::None, Way::Zstd, Way::Dictionary] {
        let packed = Packing::new(root, way)?.pack(&json)?;
        head["document"] = json!({"B": STANDARD.encode(&packed)});
        let size = units::size(&head);
        let command = ["compress".into(), file.clone().into(), way.name().into()];
        let compressed = Compressed {
            document: packed.len(),
            head: size,
            write: units::write(size, true),
            read: units::read(size, true),
            pack: once_more(root, world, &command).await?,
            unpack: once_more(root, world, &[command.as_slice(), &["--unpack".into()]].concat()).await?,
        };
        compression.insert(way.name().into(), compressed);
    }
    Ok(compression)
}
