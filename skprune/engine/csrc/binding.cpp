// The Python side of the kernels.
//
// At batch 1 a call lives or dies by what surrounds the kernel, so arrays are read through Python's
// buffer protocol, in place, whatever their strides. What is no float matrix of the right width is
// answered with None, and Python code, which has the time, converts or refuses it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "forest.h"
#include "network.h"
#include "tree.h"

namespace nb = nanobind;

namespace {

using skprune::Activation;
using skprune::Forest;
using skprune::Kernels;
using skprune::Layout;
using skprune::MatrixView;
using skprune::Network;
using skprune::Tree;

template <class T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

const Kernels& kernels_named(const std::string& isa) {
    for (const Kernels* kernels : skprune::available_kernels()) {
        if (isa == kernels->isa) return *kernels;
    }
    throw std::invalid_argument("instruction set " + isa + " is not available");
}

// Holds an array's memory for as long as a kernel looks at it.
class BufferLock {
public:
    BufferLock(nb::handle object, int flags) {
        held_ = PyObject_GetBuffer(object.ptr(), &buffer_, flags) == 0;
        if (!held_) PyErr_Clear();
    }
    BufferLock(const BufferLock&) = delete;
    BufferLock& operator=(const BufferLock&) = delete;
    ~BufferLock() {
        if (held_) PyBuffer_Release(&buffer_);
    }
    bool held() const { return held_; }
    const Py_buffer& operator*() const { return buffer_; }
    const Py_buffer* operator->() const { return &buffer_; }

private:
    Py_buffer buffer_;
    bool held_;
};

// False where the buffer is no native float32 or float64 matrix of n_columns columns.
bool view_matrix(const BufferLock& buffer, std::int64_t n_columns, MatrixView& X) {
    if (!buffer.held() || buffer->ndim != 2 || buffer->shape[1] != n_columns) return false;
    const char* format = buffer->format;
    // '=' says that it is not aligned, and the sign of this machine's byte order says nothing.
    constexpr char kNative = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
    if (format != nullptr && (format[0] == '=' || format[0] == kNative)) ++format;
    if (format == nullptr || (format[0] != 'f' && format[0] != 'd') || format[1] != 0) return false;
    X.data = static_cast<const char*>(buffer->buf);
    X.n_rows = buffer->shape[0];
    X.n_columns = n_columns;
    X.is_double = format[0] == 'd';
    const std::int64_t item = X.is_double ? sizeof(double) : sizeof(float);
    const bool strided = buffer->strides != nullptr;  // ctypes has none, though asked for them
    X.column_stride = strided ? buffer->strides[1] : item;
    X.row_stride = strided ? buffer->strides[0] : item * n_columns;
    return true;
}

// The Python side words errors for users; this is what keeps any call at all from crashing.
void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// numpy has arrays that start at any byte; numbers are read from where numbers may stand.
template <class... Arrays>
void require_aligned(const Arrays&... arrays) {
    const auto check = [](const auto& array) {
        const auto address = reinterpret_cast<std::uintptr_t>(array.data());
        require(address % alignof(decltype(*array.data())) == 0, "an array is not aligned");
    };
    (check(arrays), ...);
}

// The arrays of a CSR matrix, at which nobody has looked.
template <class Value, class Index>
MatrixView view_csr(const Array<Value>& data, const Array<Index>& indices,
                    const Array<Index>& starts, std::int64_t n_columns) {
    require_aligned(data, indices, starts);
    require(starts.shape(0) >= 1, "starts are too few");
    MatrixView X{};
    X.data = reinterpret_cast<const char*>(data.data());
    X.n_rows = static_cast<std::int64_t>(starts.shape(0)) - 1;
    X.n_columns = n_columns;
    X.is_double = sizeof(Value) == sizeof(double);
    // never null, because that would say that X is dense
    static const Index none = 0;
    X.indices = indices.shape(0) ? indices.data() : &none;
    X.starts = starts.data();
    X.is_long = sizeof(Index) == sizeof(std::int64_t);
    X.n_stored = static_cast<std::int64_t>(std::min(data.shape(0), indices.shape(0)));
    return X;
}

// numpy.empty and the dtypes that it is called with: an array made this way costs a quarter of one
// that comes through DLPack. Looked up on import and never freed, as they must outlive every call.
struct Numpy {
    nb::object empty, float32, float64, int64;
    Numpy() {
        const nb::module_ numpy = nb::module_::import_("numpy");
        const nb::object dtype = numpy.attr("dtype");
        empty = numpy.attr("empty");
        float32 = dtype("float32");
        float64 = dtype("float64");
        int64 = dtype("int64");
    }
};

// Makes an array, lets `fill` write it without the GIL, and raises NonFiniteError if that says no.
template <class Fill>
nb::object filled(const nb::object& empty, const nb::object& shape, const nb::object& dtype,
                  bool allow_nan, bool allow_infinity, const Fill& fill) {
    nb::object array = empty(shape, dtype);
    const BufferLock out(array, PyBUF_WRITABLE);
    if (!out.held()) throw std::bad_alloc();
    bool finite;
    {
        nb::gil_scoped_release release;
        finite = fill(out->buf);
    }
    if (finite) return array;
    const nb::module_ checks = nb::module_::import_("skprune.engine.checks");
    const nb::object error = checks.attr("non_finite")(allow_nan, allow_infinity);
    PyErr_SetObject(error.type().ptr(), error.ptr());
    throw nb::python_error();
}

// As planning.MAX_WIDTH: sizes in bytes of what tiles hold stay far below 2^63.
constexpr std::int64_t kMaxWidth = (std::int64_t{1} << 27) - 1;

bool is_width(std::int64_t n) { return n >= 1 && n <= kMaxWidth; }

int checked_threads(int n_threads) { return std::clamp(n_threads, 1, 1024); }

class BoundNetwork {
public:
    BoundNetwork(const Numpy& numpy, std::int64_t n_features, const Array<std::uint32_t>& inputs,
                 const Array<float>& fill, const Array<std::uint8_t>& steps, const std::string& isa)
        : numpy_(numpy), network_(checked(n_features, inputs, fill, steps, isa)) {}

    void add_layer(std::int64_t n_out, const Array<std::int64_t>& starts,
                   const Array<std::uint32_t>& columns, const Array<float>& weights,
                   const Array<float>& bias, int activation, float alpha,
                   const Array<std::uint8_t>& layouts, int height,
                   const Array<std::uint32_t>& order) {
        require_aligned(starts, columns, weights, bias, order);
        const std::int64_t n_in = network_.width(network_.depth());
        require(is_width(n_out), "n_out is out of range");
        require(static_cast<std::int64_t>(starts.shape(0)) == n_out + 1, "starts are too few");
        require(static_cast<std::int64_t>(bias.shape(0)) == n_out, "bias is of another length");
        require(starts.data()[0] == 0, "starts do not start at 0");
        for (std::int64_t o = 0; o < n_out; ++o) {
            require(starts.data()[o] <= starts.data()[o + 1], "starts fall");
        }
        const auto nnz = static_cast<std::size_t>(starts.data()[n_out]);
        require(nnz <= columns.shape(0) && nnz <= weights.shape(0), "weights are too few");
        for (std::int64_t o = 0; o < n_out; ++o) {
            for (std::int64_t i = starts.data()[o]; i < starts.data()[o + 1]; ++i) {
                require(columns.data()[i] < n_in, "a column is out of range");
                require(i == starts.data()[o] || columns.data()[i - 1] < columns.data()[i],
                        "columns do not grow");
            }
        }
        require(activation >= 0 && activation <= static_cast<int>(Activation::log_softmax),
                "there is no such activation");
        require(layouts.shape(0) == skprune::kShapes, "layouts are too few");
        skprune::LayerPlan plan{{}, height, 0, order.data()};
        bool blocks = false;
        for (int i = 0; i < skprune::kShapes; ++i) {
            require(layouts.data()[i] <= static_cast<std::uint8_t>(Layout::blocks),
                    "there is no such layout");
            plan.layout[i] = static_cast<Layout>(layouts.data()[i]);
            blocks = blocks || plan.layout[i] == Layout::blocks;
        }
        if (blocks) {
            require(height == skprune::kQuad || height == 2 * skprune::kQuad,
                    "blocks are 4 or 8 outputs high");
            require(order.shape(0) % height == 0, "order must hold whole groups");
            plan.n_groups = static_cast<std::int64_t>(order.shape(0)) / height;
            require(plan.n_groups <= n_out, "there are more groups than outputs");
            std::vector<bool> seen(n_out);
            std::int64_t found = 0;
            for (std::size_t i = 0; i < order.shape(0); ++i) {
                const std::uint32_t o = order.data()[i];
                require(o <= n_out && (o == n_out || !seen[o]),
                        "order must hold each output once");
                if (o < n_out) seen[o] = true;
                found += o < n_out;
            }
            require(found == n_out, "order must hold each output once");
        }
        network_.add_layer({n_out, n_in, starts.data(), columns.data(), weights.data()},
                           bias.data(), static_cast<Activation>(activation), alpha, plan);
    }

    nb::object run(nb::handle X, int n_threads, int depth) const {
        require_depth(depth);
        const BufferLock in(X, PyBUF_STRIDES | PyBUF_FORMAT);
        MatrixView view{};
        if (!view_matrix(in, network_.n_features(), view)) return nb::none();
        return run_view(view, n_threads, depth);
    }

    // The arrays of a CSR matrix. None if it is not finite or an index is out of range: which of
    // both is for the caller to find out.
    template <class Value, class Index>
    nb::object run_csr(const Array<Value>& data, const Array<Index>& indices,
                       const Array<Index>& starts, int n_threads, int depth) const {
        require_depth(depth);
        return run_view(view_csr(data, indices, starts, network_.n_features()), n_threads, depth);
    }

private:
    static Network checked(std::int64_t n_features, const Array<std::uint32_t>& inputs,
                           const Array<float>& fill, const Array<std::uint8_t>& steps,
                           const std::string& isa) {
        require(is_width(n_features), "n_features is out of range");
        require_aligned(inputs, fill);
        const auto n_inputs = static_cast<std::int64_t>(inputs.shape(0));
        for (std::int64_t i = 0; i < n_inputs; ++i) {
            require(inputs.data()[i] < n_features, "an input is out of range");
            require(i == 0 || inputs.data()[i - 1] < inputs.data()[i], "inputs do not grow");
        }
        require(fill.shape(0) == 0 || static_cast<std::int64_t>(fill.shape(0)) == n_features,
                "fill is of another length");
        std::array<std::uint8_t, skprune::kWidest + 1> table;
        require(steps.shape(0) == table.size(), "steps are of another length");
        for (std::size_t i = 0; i < table.size(); ++i) {
            require(steps.data()[i] < skprune::kShapes, "there is no such tile");
            table[i] = steps.data()[i];
        }
        return Network(n_features, n_inputs ? inputs.data() : nullptr, n_inputs,
                       fill.shape(0) ? fill.data() : nullptr, table, kernels_named(isa));
    }

    void require_depth(int depth) const {
        require(depth >= 1 && depth <= network_.depth(), "there is no layer of this depth");
    }

    nb::object run_view(const MatrixView& view, int n_threads, int depth) const {
        const nb::tuple shape = nb::make_tuple(view.n_rows, network_.width(depth));
        return filled(numpy_.empty, shape, numpy_.float32, network_.fills(), false,
                      [&](void* out) {
                          return network_.run(view, checked_threads(n_threads), depth,
                                              static_cast<float*>(out));
                      });
    }

    const Numpy& numpy_;
    Network network_;
};

class BoundTree {
public:
    BoundTree(const Numpy& numpy, const skprune::TreeArrays& arrays, std::int64_t n_features,
              const skprune::SlotMap& columns, bool allow_nan, const std::string& isa)
        : numpy_(numpy),
          allow_nan_(allow_nan),
          tree_(arrays, n_features, columns, allow_nan, kernels_named(isa)) {}

    nb::object predict(nb::handle X, int n_threads) const {
        return dense(X, [&](const MatrixView& view) { return values(view, n_threads); });
    }
    nb::object apply(nb::handle X, int n_threads) const {
        return dense(X, [&](const MatrixView& view) { return leaves(view, n_threads); });
    }

    // The arrays of a CSR matrix; NonFiniteError also where an index is out of range: which of both
    // is for the caller to find out.
    template <class Value, class Index>
    nb::object predict_csr(const Array<Value>& data, const Array<Index>& indices,
                           const Array<Index>& starts, int n_threads) const {
        require(tree_.takes_sparse(), "this tree is for dense rows");
        return values(view_csr(data, indices, starts, tree_.n_features()), n_threads);
    }
    template <class Value, class Index>
    nb::object apply_csr(const Array<Value>& data, const Array<Index>& indices,
                         const Array<Index>& starts, int n_threads) const {
        require(tree_.takes_sparse(), "this tree is for dense rows");
        return leaves(view_csr(data, indices, starts, tree_.n_features()), n_threads);
    }

private:
    template <class Answer>
    nb::object dense(nb::handle X, const Answer& answer) const {
        require(!tree_.takes_sparse(), "this tree is for sparse rows");
        const BufferLock in(X, PyBUF_STRIDES | PyBUF_FORMAT);
        MatrixView view{};
        if (!view_matrix(in, tree_.n_features(), view)) return nb::none();
        return answer(view);
    }

    nb::object values(const MatrixView& view, int n_threads) const {
        const nb::tuple shape = nb::make_tuple(view.n_rows, tree_.n_values());
        return filled(numpy_.empty, shape, numpy_.float64, allow_nan_, false, [&](void* out) {
            return tree_.predict(view, checked_threads(n_threads), static_cast<double*>(out));
        });
    }

    nb::object leaves(const MatrixView& view, int n_threads) const {
        const nb::int_ shape(view.n_rows);
        return filled(numpy_.empty, shape, numpy_.int64, allow_nan_, false, [&](void* out) {
            return tree_.apply(view, checked_threads(n_threads), static_cast<std::int64_t*>(out));
        });
    }

    const Numpy& numpy_;
    bool allow_nan_;
    Tree tree_;
};

class BoundForest {
public:
    BoundForest(const Numpy& numpy, const skprune::ForestArrays& arrays, std::int64_t n_features,
                const skprune::SlotMap& columns, bool is_double, bool allow_nan,
                bool allow_infinity, const std::string& isa)
        : numpy_(numpy),
          allow_nan_(allow_nan),
          allow_infinity_(allow_infinity),
          forest_(arrays, n_features, columns, is_double, allow_nan, allow_infinity,
                  kernels_named(isa)) {}

    nb::object predict(nb::handle X, int n_threads) const {
        return dense(X, [&](const MatrixView& view) { return answers(view, n_threads); });
    }
    nb::object decide(nb::handle X, int n_threads) const {
        return dense(X, [&](const MatrixView& view) { return sums(view, n_threads); });
    }
    nb::object apply(nb::handle X, int n_threads) const {
        return dense(X, [&](const MatrixView& view) { return leaves(view, n_threads); });
    }

    // As those of a tree.
    template <class Value, class Index>
    nb::object predict_csr(const Array<Value>& data, const Array<Index>& indices,
                           const Array<Index>& starts, int n_threads) const {
        return answers(sparse(data, indices, starts), n_threads);
    }
    template <class Value, class Index>
    nb::object decide_csr(const Array<Value>& data, const Array<Index>& indices,
                          const Array<Index>& starts, int n_threads) const {
        return sums(sparse(data, indices, starts), n_threads);
    }
    template <class Value, class Index>
    nb::object apply_csr(const Array<Value>& data, const Array<Index>& indices,
                         const Array<Index>& starts, int n_threads) const {
        return leaves(sparse(data, indices, starts), n_threads);
    }

private:
    template <class Answer>
    nb::object dense(nb::handle X, const Answer& answer) const {
        require(!forest_.takes_sparse(), "this forest is for sparse rows");
        const BufferLock in(X, PyBUF_STRIDES | PyBUF_FORMAT);
        MatrixView view{};
        if (!view_matrix(in, forest_.n_features(), view)) return nb::none();
        return answer(view);
    }

    template <class Value, class Index>
    MatrixView sparse(const Array<Value>& data, const Array<Index>& indices,
                      const Array<Index>& starts) const {
        require(forest_.takes_sparse(), "this forest is for dense rows");
        return view_csr(data, indices, starts, forest_.n_features());
    }

    nb::object answers(const MatrixView& view, int n_threads) const {
        return array(nb::make_tuple(view.n_rows, forest_.n_answers()), numpy_.float64,
                     [&](void* out) {
                         return forest_.predict(view, checked_threads(n_threads),
                                                static_cast<double*>(out));
                     });
    }
    nb::object sums(const MatrixView& view, int n_threads) const {
        return array(nb::make_tuple(view.n_rows, forest_.n_sums()), numpy_.float64,
                     [&](void* out) {
                         return forest_.decide(view, checked_threads(n_threads),
                                               static_cast<double*>(out));
                     });
    }
    nb::object leaves(const MatrixView& view, int n_threads) const {
        return array(nb::make_tuple(view.n_rows, forest_.n_trees()), numpy_.int64,
                     [&](void* out) {
                         return forest_.apply(view, checked_threads(n_threads),
                                              static_cast<std::int64_t*>(out));
                     });
    }

    template <class Fill>
    nb::object array(const nb::object& shape, const nb::object& dtype, const Fill& fill) const {
        return filled(numpy_.empty, shape, dtype, allow_nan_, allow_infinity_, fill);
    }

    const Numpy& numpy_;
    bool allow_nan_, allow_infinity_;
    Forest forest_;
};

// The columns that the splits name; none says that rows are dense.
skprune::SlotMap slots_of(const Array<std::uint32_t>& columns, std::int64_t n_features) {
    require_aligned(columns);
    require(static_cast<std::int64_t>(columns.shape(0)) <= n_features, "columns are too many");
    return {columns.data(), static_cast<std::int64_t>(columns.shape(0)), n_features};
}

// Reads the arrays of a forest; what they say is checked where it is laid out.
void make_forest(BoundForest* self, const Numpy& numpy, const Array<std::int64_t>& feature,
                 const Array<double>& threshold, const Array<std::int64_t>& left,
                 const Array<std::int64_t>& right, const Matrix<double>& value,
                 const Array<bool>& missing_left, const Array<std::int64_t>& tree_starts,
                 const Array<std::int64_t>& outputs, const Array<double>& base, double divisor,
                 int link, const Array<std::int64_t>& groups, const Array<std::int64_t>& set,
                 const Matrix<std::uint32_t>& sets,
                 const Array<std::int64_t>& category_columns,
                 const Array<std::int64_t>& category_starts, const Array<double>& categories,
                 const Array<std::uint32_t>& columns, std::int64_t n_features, bool is_double,
                 bool allow_nan, bool allow_infinity, const std::string& isa) {
    require_aligned(feature, threshold, left, right, value, tree_starts, outputs, base, groups, set,
                    sets, category_columns, category_starts, categories);
    require(is_width(n_features), "n_features is out of range");
    require(left.shape(0) >= 1 && tree_starts.shape(0) >= 2, "there is no tree");
    for (const std::size_t n : {feature.shape(0), threshold.shape(0), right.shape(0),
                                value.shape(0), missing_left.shape(0)}) {
        require(n == left.shape(0), "the arrays are of different lengths");
    }
    const auto n_trees = static_cast<std::int64_t>(tree_starts.shape(0)) - 1;
    require(outputs.shape(0) == 0 || static_cast<std::int64_t>(outputs.shape(0)) == n_trees,
            "outputs are of another length");
    require(set.shape(0) == 0 || set.shape(0) == left.shape(0), "set is of another length");
    require(link >= 0 && link <= static_cast<int>(skprune::Link::clip), "there is no such link");
    const auto n_sums = static_cast<std::int64_t>(base.shape(0));
    require(n_sums >= 1, "there is no sum");
    const bool one_sum = link == static_cast<int>(skprune::Link::sigmoid) ||
                         link == static_cast<int>(skprune::Link::exponential);
    require(!one_sum || n_sums == 1, "this link takes one sum");
    const auto n_categorical = static_cast<std::int64_t>(category_columns.shape(0));
    require(static_cast<std::int64_t>(category_starts.shape(0)) == n_categorical + 1 &&
                category_starts.data()[0] == 0,
            "category starts are of another length");
    for (std::int64_t c = 0; c < n_categorical; ++c) {
        require(category_starts.data()[c] <= category_starts.data()[c + 1],
                "category starts fall");
    }
    require(category_starts.data()[n_categorical] ==
                static_cast<std::int64_t>(categories.shape(0)),
            "categories are of another length");
    const skprune::ForestArrays arrays{
        {static_cast<std::int64_t>(left.shape(0)), static_cast<std::int64_t>(value.shape(1)),
         feature.data(), threshold.data(), left.data(), right.data(), missing_left.data(),
         value.data()},
        n_trees,
        tree_starts.data(),
        outputs.shape(0) ? outputs.data() : nullptr,
        n_sums,
        base.data(),
        divisor,
        static_cast<skprune::Link>(link),
        groups.data(),
        static_cast<std::int64_t>(groups.shape(0)),
        set.shape(0) ? set.data() : nullptr,
        sets.data(),
        static_cast<std::int64_t>(sets.shape(0)),
        static_cast<std::int64_t>(sets.shape(1)),
        n_categorical,
        category_columns.data(),
        category_starts.data(),
        categories.data(),
    };
    new (self) BoundForest(numpy, arrays, n_features, slots_of(columns, n_features), is_double,
                           allow_nan, allow_infinity, isa);
}

}  // namespace

NB_MODULE(_kernels, m) {
    // Estimators that live until the interpreter ends are no leak worth a page of warnings.
    nb::set_leak_warnings(false);
    static const Numpy& numpy = *new Numpy();

    m.def("available_isas", [] {
        std::vector<std::string> names;
        for (const Kernels* kernels : skprune::available_kernels()) names.push_back(kernels->isa);
        return names;
    });

    nb::class_<BoundNetwork>(m, "Network")
        .def("__init__",
             [](BoundNetwork* self, std::int64_t n_features, const Array<std::uint32_t>& inputs,
                const Array<float>& fill, const Array<std::uint8_t>& steps,
                const std::string& isa) {
                 new (self) BoundNetwork(numpy, n_features, inputs, fill, steps, isa);
             })
        .def("add_layer", &BoundNetwork::add_layer)
        .def("run", &BoundNetwork::run, nb::arg().none(), nb::arg(), nb::arg())
        .def("run_csr", &BoundNetwork::run_csr<float, std::int32_t>)
        .def("run_csr", &BoundNetwork::run_csr<float, std::int64_t>)
        .def("run_csr", &BoundNetwork::run_csr<double, std::int32_t>)
        .def("run_csr", &BoundNetwork::run_csr<double, std::int64_t>);

    nb::class_<BoundTree>(m, "Tree")
        .def("__init__",
             [](BoundTree* self, const Array<std::int64_t>& feature, const Array<double>& threshold,
                const Array<std::int64_t>& left, const Array<std::int64_t>& right,
                const Matrix<double>& value, const Array<bool>& missing_left,
                const Array<std::uint32_t>& columns, std::int64_t n_features, bool allow_nan,
                const std::string& isa) {
                 require_aligned(feature, threshold, left, right, value);
                 const skprune::TreeArrays arrays{
                     static_cast<std::int64_t>(left.shape(0)),
                     static_cast<std::int64_t>(value.shape(1)),
                     feature.data(),
                     threshold.data(),
                     left.data(),
                     right.data(),
                     missing_left.data(),
                     value.data(),
                 };
                 require(arrays.n_nodes >= 1 && is_width(n_features), "there is no node or feature");
                 for (const std::size_t n : {feature.shape(0), threshold.shape(0), right.shape(0),
                                             value.shape(0), missing_left.shape(0)}) {
                     require(n == left.shape(0), "the arrays are of different lengths");
                 }
                 new (self) BoundTree(numpy, arrays, n_features, slots_of(columns, n_features),
                                      allow_nan, isa);
             })
        .def("predict", &BoundTree::predict, nb::arg().none(), nb::arg())
        .def("apply", &BoundTree::apply, nb::arg().none(), nb::arg())
        .def("predict_csr", &BoundTree::predict_csr<float, std::int32_t>)
        .def("predict_csr", &BoundTree::predict_csr<float, std::int64_t>)
        .def("predict_csr", &BoundTree::predict_csr<double, std::int32_t>)
        .def("predict_csr", &BoundTree::predict_csr<double, std::int64_t>)
        .def("apply_csr", &BoundTree::apply_csr<float, std::int32_t>)
        .def("apply_csr", &BoundTree::apply_csr<float, std::int64_t>)
        .def("apply_csr", &BoundTree::apply_csr<double, std::int32_t>)
        .def("apply_csr", &BoundTree::apply_csr<double, std::int64_t>);

    nb::class_<BoundForest>(m, "Forest")
        .def("__init__",
             [](BoundForest* self, const Array<std::int64_t>& feature,
                const Array<double>& threshold, const Array<std::int64_t>& left,
                const Array<std::int64_t>& right, const Matrix<double>& value,
                const Array<bool>& missing_left, const Array<std::int64_t>& tree_starts,
                const Array<std::int64_t>& outputs, const Array<double>& base, double divisor,
                int link, const Array<std::int64_t>& groups, const Array<std::int64_t>& set,
                const Matrix<std::uint32_t>& sets, const Array<std::int64_t>& category_columns,
                const Array<std::int64_t>& category_starts, const Array<double>& categories,
                const Array<std::uint32_t>& columns, std::int64_t n_features, bool is_double,
                bool allow_nan, bool allow_infinity, const std::string& isa) {
                 make_forest(self, numpy, feature, threshold, left, right, value, missing_left,
                             tree_starts, outputs, base, divisor, link, groups, set, sets,
                             category_columns, category_starts, categories, columns, n_features,
                             is_double, allow_nan, allow_infinity, isa);
             })
        .def("predict", &BoundForest::predict, nb::arg().none(), nb::arg())
        .def("decide", &BoundForest::decide, nb::arg().none(), nb::arg())
        .def("apply", &BoundForest::apply, nb::arg().none(), nb::arg())
        .def("predict_csr", &BoundForest::predict_csr<float, std::int32_t>)
        .def("predict_csr", &BoundForest::predict_csr<float, std::int64_t>)
        .def("predict_csr", &BoundForest::predict_csr<double, std::int32_t>)
        .def("predict_csr", &BoundForest::predict_csr<double, std::int64_t>)
        .def("decide_csr", &BoundForest::decide_csr<float, std::int32_t>)
        .def("decide_csr", &BoundForest::decide_csr<float, std::int64_t>)
        .def("decide_csr", &BoundForest::decide_csr<double, std::int32_t>)
        .def("decide_csr", &BoundForest::decide_csr<double, std::int64_t>)
        .def("apply_csr", &BoundForest::apply_csr<float, std::int32_t>)
        .def("apply_csr", &BoundForest::apply_csr<float, std::int64_t>)
        .def("apply_csr", &BoundForest::apply_csr<double, std::int32_t>)
        .def("apply_csr", &BoundForest::apply_csr<double, std::int64_t>);
}
