//! Writes and reads result folders: manifest.json and one safetensors file per CI set.
