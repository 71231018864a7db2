//! The kernels that this backend asks for by name.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, Scalar, TensorMetadata, calculate_matmul_output};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::{Strategy, launch_ref};
use cubek::matmul::routines::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routines::{BlueprintStrategy, TileSizeSelection};
use cubek::std::InputBinding;
use tributary_burn::Kernels;

use crate::failure;

/// How f32 matrices are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Every factor and sum in f32.
    Full,
    /// Factors rounded to TF32, of 10 bits, where the GPU can: faster, and off by about 1e-3.
    Tf32,
}

/// Kernels of a cubecl runtime in a given precision.
#[derive(Clone, Copy, Debug)]
pub struct CubeKernels {
    /// How matrices are multiplied.
    pub precision: Precision,
}

impl<R: CubeRuntime, B: Backend<FloatTensorPrimitive = CubeTensor<R>>> Kernels<B> for CubeKernels {
    fn matmul(&self, lhs: FloatTensor<B>, rhs: FloatTensor<B>) -> Result<FloatTensor<B>, String> {
        match self.precision {
            Precision::Full => failure::catch(|| full_precision_matmul(lhs, rhs))?,
            Precision::Tf32 => failure::catch(|| B::float_matmul(lhs, rhs)),
        }
    }

    /// burn's kernel starts from the least finite number, and so never finds -inf.
    fn max(&self, x: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
        let least = match x.dtype() {
            DType::F64 => f64::MIN,
            _ => f64::from(f32::MIN),
        };
        let settings = burn_backend::get_device_settings::<B>(&B::float_device(&x));
        let max = B::float_max_dim(x, axis);
        let found_none = B::float_equal_elem(max.clone(), Scalar::Float(least), settings.bool_dtype);
        B::float_mask_fill(max, found_none, Scalar::Float(f64::NEG_INFINITY))
    }

    fn guard<T>(&self, call: impl FnOnce() -> T) -> Result<T, String> {
        failure::catch(call)
    }

    fn take_failure(&self) -> Option<String> {
        failure::take()
    }
}

/// `lhs x rhs` by threads that multiply and add in the operands' own type, without tensor cores.
///
/// cubek's other kernels all round f32 factors to TF32 where the device offers it, and nothing turns that off
/// (`adjust_dtypes` in cubek-matmul 0.2.0).
fn full_precision_matmul<R: CubeRuntime>(lhs: CubeTensor<R>, rhs: CubeTensor<R>) -> Result<CubeTensor<R>, String> {
    let unit = SimpleUnitSelectionArgs { tile_size: TileSizeSelection::MaxTileSize };
    // The second is slower and takes whatever the first refuses.
    let strategies = [Strategy::SimpleUnit(BlueprintStrategy::Inferred(unit)), Strategy::Naive];
    let dtype = lhs.dtype;
    let shape = calculate_matmul_output(&lhs.shape(), &rhs.shape()).map_err(|error| format!("{error:?}"))?;
    let (lhs, rhs) = (readable(lhs), readable(rhs));
    let product = empty_device_dtype(lhs.client.clone(), lhs.device.clone(), shape, dtype);
    let mut refusals = Vec::new();
    for strategy in &strategies {
        let types = MatmulGlobalElems { lhs: dtype.into(), rhs: dtype.into(), out: dtype.into() };
        let launched = launch_ref(
            strategy,
            &product.client,
            InputBinding::new(lhs.clone().binding(), dtype.into()),
            InputBinding::new(rhs.clone().binding(), dtype.into()),
            product.clone().binding(),
            &mut MatmulElems::from_globals(&types),
        );
        match launched {
            Ok(()) => return Ok(product),
            Err(error) => refusals.push(format!("{strategy}: {}", error.to_string().trim())),
        }
    }
    Err(refusals.join("; "))
}

/// The tensor itself if its matrices are stored by rows or by columns, as kernels want them, else a copy that is.
fn readable<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let rank = shape.len();
    let (rows, columns) = (shape[rank - 2], shape[rank - 1]);
    let (row, column) = (strides[rank - 2], strides[rank - 1]);
    let by_rows = column == 1 && row >= columns;
    let by_columns = row == 1 && column >= rows;
    if by_rows || by_columns { tensor } else { into_contiguous(tensor) }
}
