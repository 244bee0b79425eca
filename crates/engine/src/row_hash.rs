//! One value that stands for all values of a row: two rows have the same if they are alike.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryArray},
    datatypes::DataType,
    row::{RowConverter, SortField},
};
use datafusion::{
    error::Result as DfResult,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use sha2::{Digest, Sha256};

/// The SQL function.
pub(crate) const ROW_HASH: &str = "lagar_row_hash";
/// Two different rows of a lake never have the same so many bytes.
const BYTES: usize = 16;

/// `lagar_row_hash(a, b, …)`: the same on every machine.
pub(crate) fn row_hash() -> ScalarUDF {
    ScalarUDF::from(RowHash { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowHash {
    signature: Signature,
}

impl ScalarUDFImpl for RowHash {
    fn name(&self) -> &str {
        ROW_HASH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns: Vec<ArrayRef> =
            args.args.into_iter().map(|value| value.into_array(rows)).collect::<DfResult<_>>()?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let converted = RowConverter::new(fields)?.convert_columns(&columns)?;
        let hashes = converted.iter().map(Sha256::digest);
        let hashes = BinaryArray::from_iter_values(hashes.map(|hash| hash[..BYTES].to_vec()));
        Ok(ColumnarValue::Array(Arc::new(hashes)))
    }
}
