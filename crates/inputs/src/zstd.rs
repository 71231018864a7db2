//! What is compressed with zstd: one frame after the other, as `zstd`, `pzstd` and `cat a.zst b.zst` make them.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::guard::no_panic;

/// The largest window, which is held in memory: that of `zstd --long`, and what the library takes by itself.
const WINDOW: u64 = 128 << 20;

/// A reader of what the frames of `source` hold.
pub(crate) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
    /// Bytes that came out of the frame.
    length: u64,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { source, decoder, is_in_frame: false, length: 0 }
    }

    /// Begins the next frame; `false` where there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            let Self { source, decoder, .. } = self;
            match guarded(|| Ok(decoder.init(&mut *source)))? {
                Ok(()) => return Ok(true),
                // Those with a number of their own hold no text.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut source.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(
                    FrameDecoderError::WindowSizeTooBig { .. }
                    | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }),
                ) => {
                    return Err(unreadable(
                        "its window is larger than 128 MiB; compress it with a window of at most 128 MiB, as zstd does by itself",
                    ));
                }
                Err(FrameDecoderError::DictNotProvided { .. }) => {
                    return Err(unreadable("it needs a dictionary; compress it without one"));
                }
                Err(error) => return Err(unreadable(&error.to_string())),
            }
        }
        Ok(false)
    }

    fn check_end(&self) -> io::Result<()> {
        let decoder = &self.decoder;
        // A frame that does not say its length has 0 here.
        let said = decoder.content_size();
        if said != 0 && said != self.length {
            return Err(unreadable("its content is longer or shorter than it says"));
        }
        match decoder.get_checksum_from_data() {
            Some(given) if decoder.get_calculated_checksum() != Some(given) => {
                Err(unreadable("its checksum is not that of its content"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.is_in_frame {
                if !self.begin()? {
                    return Ok(0);
                }
                (self.is_in_frame, self.length) = (true, 0);
            }
            let Self { source, decoder, .. } = self;
            while decoder.can_collect() == 0 && !decoder.is_finished() {
                let block = BlockDecodingStrategy::UptoBlocks(1);
                guarded(|| decoder.decode_blocks(&mut *source, block).map_err(|error| unreadable(&error.to_string())))?;
            }
            let read = guarded(|| decoder.read(buffer))?;
            if read > 0 {
                self.length += read as u64;
                return Ok(read);
            }
            self.check_end()?;
            self.is_in_frame = false;
        }
        Ok(0)
    }
}

fn unreadable(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// What the library gives, or an error in place of its panic.
fn guarded<T>(decode: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    no_panic(decode).unwrap_or_else(|_| Err(unreadable("it is no zstd stream")))
}
