//! The pickle of a state dict, for what `pytorch-reader` keeps to itself: which storage holds each tensor.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use pytorch_reader::DType;

/// A tensor as the pickle describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PickledTensor {
    /// Name of the storage.
    pub(crate) key: String,
    pub(crate) dtype: DType,
    /// Where in the storage it begins, in elements.
    pub(crate) start: u64,
    pub(crate) shape: Vec<u64>,
    /// Steps of the axes, in elements.
    pub(crate) strides: Vec<u64>,
}

/// The tensors of a flat state dict of floats, as `torch.save` pickles it with its own protocol, 2.
///
/// Knows the opcodes that are in such a pickle and no others: of anything else the tensors are not known here. Says
/// nothing about whether the pickle is sound.
pub(crate) fn tensors(pickle: &[u8]) -> Option<BTreeMap<String, PickledTensor>> {
    let mut machine = Machine::default();
    let mut code = Code(pickle);
    while let Some(opcode) = code.byte().filter(|&opcode| opcode != b'.') {
        machine.step(opcode, &mut code)?;
    }
    match machine.stack.pop()? {
        Value::Dict(tensors) => Some(tensors),
        _ => None,
    }
}

/// What the opcodes build. Nothing here holds more than two layers of others, whatever the pickle nests.
#[derive(Clone)]
enum Value {
    Text(Rc<str>),
    Number(u64),
    Numbers(Rc<[u64]>),
    /// Module and name.
    Global(Rc<str>),
    /// Not of numbers alone, and with no tuples within.
    Tuple(Rc<[Value]>),
    Storage(Rc<str>, DType),
    Tensor(Rc<PickledTensor>),
    /// What is not a tensor is left out.
    Dict(BTreeMap<String, PickledTensor>),
    Other,
}

/// The rest of a pickle.
struct Code<'a>(&'a [u8]);

impl<'a> Code<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// A little-endian number of up to 8 bytes.
    fn number(&mut self, length: usize) -> Option<u64> {
        let bytes = self.take(length)?;
        let mut word = [0; 8];
        word.get_mut(..length)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }

    fn line(&mut self) -> Option<&'a str> {
        let length = self.0.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(line).ok()
    }
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
}

impl Machine {
    fn step(&mut self, opcode: u8, code: &mut Code<'_>) -> Option<()> {
        let value = match opcode {
            // PROTO
            0x80 => return (code.byte()? == 2).then_some(()),
            // MARK
            b'(' => {
                self.marks.push(self.stack.len());
                return Some(());
            }
            // BINPUT, LONG_BINPUT
            b'q' | b'r' => {
                let place = code.number(if opcode == b'q' { 1 } else { 4 })?;
                // A dict is named before it is filled, and a flat one is not asked for again.
                let value = match self.stack.last()? {
                    Value::Dict(_) => Value::Other,
                    value => value.clone(),
                };
                self.memo.insert(place, value);
                return Some(());
            }
            // BINGET, LONG_BINGET
            b'h' => self.memo.get(&code.number(1)?)?.clone(),
            b'j' => self.memo.get(&code.number(4)?)?.clone(),
            // BINUNICODE
            b'X' => {
                let length = code.number(4)? as usize;
                Value::Text(std::str::from_utf8(code.take(length)?).ok()?.into())
            }
            // BININT1, BININT2, BININT
            b'K' => Value::Number(code.number(1)?),
            b'M' => Value::Number(code.number(2)?),
            b'J' => Value::Number(code.number(4).filter(|&number| i32::try_from(number).is_ok())?),
            // LONG1
            0x8a => long(code)?,
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => Value::Other,
            // GLOBAL
            b'c' => Value::Global(format!("{} {}", code.line()?, code.line()?).into()),
            // EMPTY_DICT
            b'}' => Value::Dict(BTreeMap::new()),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => tuple(&[]),
            0x85..=0x87 => {
                let length = usize::from(opcode - 0x84);
                tuple(&self.take(self.stack.len().checked_sub(length)?)?)
            }
            b't' => {
                let start = self.marks.pop()?;
                tuple(&self.take(start)?)
            }
            // BINPERSID
            b'Q' => storage(&self.stack.pop()?),
            // REDUCE
            b'R' => {
                let arguments = self.stack.pop()?;
                call(&self.stack.pop()?, &arguments)
            }
            // BUILD, of the attributes of a dict
            b'b' => {
                self.stack.pop()?;
                return matches!(self.stack.last()?, Value::Dict(_)).then_some(());
            }
            // SETITEM, SETITEMS
            b's' => {
                let start = self.stack.len().checked_sub(2)?;
                return self.set_items(start);
            }
            b'u' => {
                let start = self.marks.pop()?;
                return self.set_items(start);
            }
            _ => return None,
        };
        self.stack.push(value);
        Some(())
    }

    /// The top of the stack, down to a height.
    fn take(&mut self, start: usize) -> Option<Vec<Value>> {
        (start <= self.stack.len()).then(|| self.stack.split_off(start))
    }

    /// Puts pairs of a key and a value, on top of the stack, into the dict under them.
    fn set_items(&mut self, start: usize) -> Option<()> {
        let items = self.take(start)?;
        let Value::Dict(dict) = self.stack.last_mut()? else { return None };
        for item in items.chunks(2) {
            let [Value::Text(name), value] = item else { return None };
            match value {
                Value::Tensor(tensor) => dict.insert(name.to_string(), PickledTensor::clone(tensor)),
                _ => dict.remove(&**name),
            };
        }
        Some(())
    }
}

/// A number of any length, two's complement; one that is negative or too large is no length of anything.
fn long(code: &mut Code<'_>) -> Option<Value> {
    let length = usize::from(code.byte()?);
    let bytes = code.take(length)?;
    let (low, high) = bytes.split_at(length.min(8));
    let mut word = [0; 8];
    word[..low.len()].copy_from_slice(low);
    let is_negative = bytes.last().is_some_and(|&last| last >= 0x80);
    let is_too_large = high.iter().any(|&byte| byte != 0);
    Some(if is_negative || is_too_large { Value::Other } else { Value::Number(u64::from_le_bytes(word)) })
}

fn tuple(items: &[Value]) -> Value {
    let number = |item: &Value| if let Value::Number(number) = item { Some(*number) } else { None };
    if let Some(numbers) = items.iter().map(number).collect::<Option<Rc<[u64]>>>() {
        return Value::Numbers(numbers);
    }
    let flat = |item: &Value| match item {
        Value::Tuple(_) | Value::Dict(_) => Value::Other,
        item => item.clone(),
    };
    Value::Tuple(items.iter().map(flat).collect())
}

/// What a persistent id stands for: `('storage', class, key, device, number of elements)`.
fn storage(id: &Value) -> Value {
    let Value::Tuple(id) = id else { return Value::Other };
    let [Value::Text(kind), Value::Global(class), Value::Text(key), ..] = &**id else { return Value::Other };
    let dtype = match &**class {
        "torch FloatStorage" => DType::F32,
        "torch HalfStorage" => DType::F16,
        "torch BFloat16Storage" => DType::BF16,
        _ => return Value::Other,
    };
    if &**kind == "storage" { Value::Storage(Rc::clone(key), dtype) } else { Value::Other }
}

/// The value of a function of the pickle: a tensor, an ordered dict, or nothing that is known here.
fn call(function: &Value, arguments: &Value) -> Value {
    match (function, arguments) {
        (Value::Global(name), Value::Tuple(arguments)) if &**name == "torch._utils _rebuild_tensor_v2" => {
            let [Value::Storage(key, dtype), Value::Number(start), Value::Numbers(shape), Value::Numbers(strides), ..] =
                &**arguments
            else {
                return Value::Other;
            };
            Value::Tensor(Rc::new(PickledTensor {
                key: key.to_string(),
                dtype: *dtype,
                start: *start,
                shape: shape.to_vec(),
                strides: strides.to_vec(),
            }))
        }
        (Value::Global(name), Value::Numbers(none)) if &**name == "collections OrderedDict" && none.is_empty() => {
            Value::Dict(BTreeMap::new())
        }
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    /// `_rebuild_tensor_v2(storage of this class and key, 3, (2, 300), (300, 1), False, OrderedDict())`.
    fn tensor(class: &str, key: &str) -> Vec<u8> {
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
            &text("storage"),
            format!("ctorch\n{class}\n").as_bytes(),
            &text(key),
            &text("cpu"),
            b"M\x58\x02tQK\x03K\x02M\x2c\x01\x86\x8a\x02\x2c\x01K\x01\x86\x89ccollections\nOrderedDict\n)RtR",
        ]
        .concat()
    }

    fn expected() -> PickledTensor {
        let (shape, strides) = (vec![2, 300], vec![300, 1]);
        PickledTensor { key: "7".to_owned(), dtype: DType::F32, start: 3, shape, strides }
    }

    #[test]
    fn tensors_of_dicts_plain_and_ordered() {
        for dict in [b"}q\0".as_slice(), b"ccollections\nOrderedDict\n)Rr\0\0\0\0"] {
            let items = [b"(".as_slice(), &text("a"), &tensor("FloatStorage", "7"), &text("b"), b"Nu"].concat();
            let one = [&text("c"), &tensor("LongStorage", "8"), b"s".as_slice()].concat();
            let attributes = [b"}".as_slice(), &text("_metadata"), b"}sb."].concat();
            let found = tensors(&[b"\x80\x02".as_slice(), dict, &items, &one, &attributes].concat());
            assert_eq!(found, Some(BTreeMap::from([("a".to_owned(), expected())])));
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let twice = [
            b"}(".as_slice(),
            &text("a"),
            &tensor("FloatStorage", "6"),
            &text("a"),
            &tensor("FloatStorage", "7"),
            b"u.",
        ];
        assert_eq!(tensors(&twice.concat()), Some(BTreeMap::from([("a".to_owned(), expected())])));
        let gone = [b"}(".as_slice(), &text("a"), &tensor("FloatStorage", "7"), &text("a"), b"Nu."].concat();
        assert_eq!(tensors(&gone), Some(BTreeMap::new()));
    }

    #[test]
    fn other_pickles_are_not_known() {
        for pickle in [
            b"".as_slice(),
            b".",
            b"\x80\x04}.",
            b"N.",
            b"].",
            b"t.",
            b"u.",
            b"s.",
            b"}(s.",
            b"\x87.",
            b"h\0.",
            b"}NNs.",
        ] {
            assert_eq!(tensors(pickle), None, "{pickle:?}");
        }
    }

    #[test]
    fn nothing_nests() {
        // A million tuples within each other, each named and asked for again: freeing them must take no stack.
        let deep = [b"N".repeat(1), b"\x85".repeat(1_000_000), b".".to_vec()].concat();
        assert_eq!(tensors(&deep), None);
    }

    #[test]
    fn numbers_of_any_length() {
        let number = |bytes: &[u8]| match long(&mut Code(&[&[bytes.len() as u8], bytes].concat())) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        };
        assert_eq!(number(&[]), Some(0));
        assert_eq!(number(&[0xff, 0]), Some(255));
        assert_eq!(number(&[0xff; 1]), None);
        assert_eq!(number(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), Some(1 << 63));
        assert_eq!(number(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
    }
}
