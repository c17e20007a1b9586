//! Where uploads end.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncWriteExt as _, BufWriter};

/// Written at once.
const PIECE: usize = 256 << 10;

/// Writes everything to a file of its own, which goes when that is done; gives how many bytes
/// there were.
pub(crate) async fn store<E>(pieces: impl Stream<Item = Result<Bytes, E>>) -> Result<u64, E> {
    let file = tempfile::NamedTempFile::new().expect("a temporary directory");
    let handle = file.reopen().expect("it is there");
    let mut out = BufWriter::with_capacity(PIECE, tokio::fs::File::from_std(handle));
    let mut size = 0;
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        size += piece.len() as u64;
        out.write_all(&piece).await.expect("room on the disk");
    }
    out.flush().await.expect("room on the disk");
    Ok(size)
}
