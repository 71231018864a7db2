//! Reads trained SPD runs and CI-set files.
