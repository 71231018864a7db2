//! What a message for a user must be.

/// The most characters of a message of the readers of inputs, which shorten what they quote.
pub const LONGEST: usize = 4000;

/// The message of something that can be refused.
pub fn of<T, E: std::error::Error>(result: Result<T, E>, longest: usize) -> Option<T> {
    result.map_err(|error| check(&error.to_string(), longest)).ok()
}

/// Panics unless a message is fit to be shown on a terminal.
pub fn check(message: &str, longest: usize) {
    assert!(!message.is_empty(), "the message is empty");
    let count = message.chars().count();
    assert!(count <= longest, "the message has {count} characters: {}", message.escape_debug());
    let control = message.chars().find(|character| character.is_control() && *character != '\n');
    assert!(control.is_none(), "the message holds {control:?}: {}", message.escape_debug());
}
