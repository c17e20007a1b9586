//! Files of up to a gigabyte: written to disk while they come, sent while they are read.
//!
//! ```text
//! cargo run --example files -- run
//! curl -F file=@Cargo.toml -F file=@README.md http://127.0.0.1:8080/api/v1/files
//! curl -T large.iso http://127.0.0.1:8080/api/v1/files/large.iso
//! curl -OJ http://127.0.0.1:8080/api/v1/files/large.iso
//! ```
//!
//! They lie in the directory `files`, or where `PLUGINS__FILES__DIR` says.

use std::path::{Path, PathBuf};

use framex::prelude::*;
use tempfile::NamedTempFile;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Where the files lie.
    dir: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: "files".into(),
        }
    }
}

/// Keeps files on disk.
struct Files {
    dir: PathBuf,
}

/// What is told about a file.
#[derive(Serialize, ToSchema)]
struct Entry {
    name: String,
    size: u64,
}

#[on_register(plugin = "files", config = Config)]
impl Files {
    fn new(config: Config) -> Result<Self> {
        std::fs::create_dir_all(&config.dir)?;
        Ok(Self { dir: config.dir })
    }

    /// Stores the files of a form.
    ///
    /// An `Upload` makes the body multipart: `Upload` is one file, `Option<Upload>` perhaps
    /// one, `Vec<Upload>` any number. `max_body_size` bounds all of them together; without it
    /// `server.max_body_size` would. A call that takes files has an hour unless it says otherwise.
    #[on_request(post, "/files", max_body_size = "1GiB", timeout = "1h")]
    async fn upload(&self, file: Vec<Upload>) -> Result<Vec<Entry>> {
        let mut stored = Vec::new();
        for upload in file {
            let name = upload.filename.clone();
            stored.push(self.store(name, upload).await?);
        }
        Ok(stored)
    }

    /// Stores the body as it is, whatever it is.
    ///
    /// The handler runs from the first byte on. Nothing lies in memory but what it has not
    /// written yet, and the client waits while it writes.
    #[on_request(
        put,
        "/files/{name}",
        idempotent,
        max_body_size = "1GiB",
        timeout = "1h"
    )]
    async fn replace(&self, name: String, #[body] file: Upload) -> Result<Response> {
        let entry = self.store(name, file).await?;
        // A `Response` has its own status and headers, and no envelope.
        Response::json(StatusCode::CREATED, &entry)
    }

    /// Gives a file back, to be saved under its name.
    #[on_request(get, "/files/{name}", idempotent)]
    async fn download(&self, name: String) -> Result<Download> {
        let file = File::open(self.path(&name)?)
            .await
            .map_err(|_| Error::not_found(format!("there is no file `{name}`")))?;
        // Of anything else, `Download::new` takes a stream.
        let bytes = ByteStream::file(file.into_std().await)?;
        Ok(Download::from(bytes).named(&name))
    }

    /// Every file.
    #[on_request(get, "/files", idempotent)]
    async fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut dir = fs::read_dir(&self.dir).await?;
        while let Some(file) = dir.next_entry().await? {
            let name = file.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let size = file.metadata().await?.len();
                entries.push(Entry { name, size });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn store(&self, name: String, mut upload: Upload) -> Result<Entry> {
        let path = self.path(&name)?;
        // Under another name until it is whole. If the client breaks it off, `next` gives an
        // error; if this future is dropped, nothing gives any. The file goes either way.
        let part = NamedTempFile::with_prefix_in(".part-", &self.dir)?;
        let mut file = File::from_std(part.reopen()?);
        let mut size = 0;
        while let Some(piece) = upload.next().await {
            let piece = piece?;
            file.write_all(&piece).await?;
            size += piece.len() as u64;
        }
        file.flush().await?;
        part.persist(path)?;
        Ok(Entry { name, size })
    }

    /// A client can call its file what it likes: check before use.
    fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name);
        match plain && !name.starts_with('.') && !name.contains('\\') {
            true => Ok(self.dir.join(name)),
            false => Err(Error::bad_request("a file needs a plain name")),
        }
    }
}

framex::main!(Files);
