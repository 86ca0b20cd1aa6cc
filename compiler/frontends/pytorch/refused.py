"""Operators that no conversion can be given for, with the reason."""

from __future__ import annotations

_COMPLEX = "complex numbers"
_RANDOM = "random numbers, which no two runs share: make them an input"
_MEMORY = "it depends on where a tensor lies in memory"
_TRAINING = "training only"
_PACKED = "packed sequences, whose lengths depend on data: pad them and mask the result"
_STEPS = "activations quantised anew in each step: quantise the linear layers only"
_HOST = "no ONNX operator computes it"

#: name -> reason
REFUSED: dict[str, str] = {
    f"aten.{name}": reason
    for reason, names in {
        _COMPLEX: "_fft_c2c _fft_c2r _fft_r2c angle complex imag polar stft istft view_as_complex view_as_real",
        _RANDOM: "bernoulli rand randn randint rand_like randn_like randint_like randperm multinomial normal uniform "
                 "exponential uniform_ normal_ bernoulli_ exponential_ poisson",
        _MEMORY: "as_strided resize_ set_ sym_is_contiguous sym_storage_offset sym_stride",
        _TRAINING: "_adaptive_avg_pool2d_backward avg_pool2d_backward convolution_backward embedding_dense_backward "
                   "max_pool2d_with_indices_backward native_group_norm_backward native_layer_norm_backward",
        _PACKED: "_pack_padded_sequence _pad_packed_sequence lstm.data gru.data rnn_tanh.data rnn_relu.data",
        _STEPS: "quantized_lstm quantized_gru quantized_rnn_tanh_cell quantized_rnn_relu_cell quantized_lstm_cell "
                "quantized_gru_cell",
        _HOST: "_pdist_forward cummax cummin digamma erfinv lgamma linalg_eigh linalg_inv_ex linalg_qr linalg_svd "
               "masked_scatter mode polygamma igamma igammac histc bincount",
    }.items()
    for name in names.split()
}  # fmt: skip
