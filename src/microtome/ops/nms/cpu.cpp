// Non-maximum suppression on processors: exact and greedy, box after box from the best score down,
// but each box is compared with its neighbours only (see grid.h). Where all boxes lie in one cell it
// is a plain scan, many boxes at a time.
#include "grid.h"

#include <unordered_map>

#define MICROTOME_KERNEL "nms/kernel.h"
#include "../each_isa.h"

namespace {

using namespace microtome;
using namespace microtome::nms;

template <class T>
struct Boxes {
  const T* at;  // [N, 2D]
  int64_t count, dims;

  T low(int64_t box, int64_t axis) const { return at[box * 2 * dims + axis]; }
  T high(int64_t box, int64_t axis) const { return at[(box * 2 + 1) * dims + axis]; }
  double centre(int64_t box, int64_t axis) const {
    return (static_cast<double>(low(box, axis)) + high(box, axis)) / 2;
  }
  double side(int64_t box, int64_t axis) const {
    return static_cast<double>(high(box, axis)) - low(box, axis);
  }
  T volume(int64_t box) const {
    T product = high(box, 0) - low(box, 0);
    for (int64_t axis = 1; axis < dims; ++axis) product *= high(box, axis) - low(box, axis);
    return product;
  }
  bool solid(int64_t box) const {
    for (int64_t axis = 0; axis < dims; ++axis)
      if (!(high(box, axis) > low(box, axis))) return false;
    return true;
  }
};

// Bits that sort as unsigned numbers from the largest value down; both zeros are one.
inline uint32_t falling(float x) {
  uint32_t bits;
  x += 0.0f;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

inline uint64_t falling(double x) {
  uint64_t bits;
  x += 0.0;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> 63 ? bits : ~bits & 0x7fffffffffffffffu;
}

// Indices from the largest score down, the first of equal ones first: a radix sort.
template <class T>
std::vector<int32_t> ranking(const T* scores, int64_t count) {
  using Bits = decltype(falling(T()));
  const int digit = count < 4096 ? 8 : 11, buckets = 1 << digit;
  std::vector<std::pair<Bits, int32_t>> items(count), sorted(count);
  for (int64_t i = 0; i < count; ++i) items[i] = {falling(scores[i]), static_cast<int32_t>(i)};
  for (size_t shift = 0; shift < 8 * sizeof(Bits); shift += digit) {
    std::vector<int32_t> start(buckets + 1);
    for (const auto& item : items) ++start[((item.first >> shift) & (buckets - 1)) + 1];
    for (int i = 0; i < buckets; ++i) start[i + 1] += start[i];
    for (const auto& item : items) sorted[start[(item.first >> shift) & (buckets - 1)]++] = item;
    items.swap(sorted);
  }
  std::vector<int32_t> order(count);
  for (int64_t i = 0; i < count; ++i) order[i] = items[i].second;
  return order;
}

double middle(std::vector<double>& values, double share) {
  auto at = values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// A grid with cells about as large as the reach of a usual box, and at most two cells per box. It
// covers the middle of the centres: stragglers count to the cells at its border.
template <class T>
Grid lay_grid(const Boxes<T>& boxes, const std::vector<int32_t>& members, const double* longest,
              double threshold) {
  constexpr size_t looked_at = 128;
  const size_t step = 1 + members.size() / looked_at;
  const int64_t front = most_axes - boxes.dims;
  Grid grid;
  double total = 1, most = members.size() < 32 ? 1 : 2.0 * static_cast<double>(members.size());
  double wanted[most_axes], extent[most_axes];
  for (int axis = 0; axis < most_axes; ++axis) {
    grid.origin[axis] = 0, grid.scale[axis] = 0, grid.cells[axis] = 1;
    if (axis < front) continue;
    std::vector<double> centres, sides;
    for (size_t i = 0; i < members.size(); i += step) {
      centres.push_back(boxes.centre(members[i], axis - front));
      sides.push_back(boxes.side(members[i], axis - front));
    }
    grid.origin[axis] = middle(centres, 0.02);
    extent[axis] = middle(centres, 0.98) - grid.origin[axis];
    const double usual = reach(middle(sides, 0.5), longest[axis - front], threshold);
    wanted[axis] = std::min(std::max(extent[axis] / usual, 1.0), 1e6);
    total *= wanted[axis];
  }
  const double shrink = total > most ? std::pow(most / total, 1.0 / boxes.dims) : 1;
  for (int64_t axis = front; axis < most_axes; ++axis) {
    grid.cells[axis] = std::max<int64_t>(1, static_cast<int64_t>(wanted[axis] * shrink));
    if (extent[axis] > 0) grid.scale[axis] = static_cast<double>(grid.cells[axis]) / extent[axis];
  }
  return grid;
}

// Sets keep[rank] for what stays of one group; `ranks` from the best down.
template <class T>
void suppress_group(const Boxes<T>& boxes, const std::vector<int32_t>& order,
                    const std::vector<int32_t>& ranks, double threshold, char* keep) {
  const int64_t dims = boxes.dims, front = most_axes - dims;
  std::vector<int32_t> members, ranked;
  members.reserve(ranks.size()), ranked.reserve(ranks.size());
  double longest[most_axes] = {};
  for (int32_t rank : ranks) {
    const int32_t box = order[rank];
    keep[rank] = !boxes.solid(box);  // what is empty overlaps nothing
    if (keep[rank]) continue;
    members.push_back(box);
    ranked.push_back(rank);
    for (int64_t axis = 0; axis < dims; ++axis)
      longest[axis] = std::max(longest[axis], boxes.side(box, axis));
  }
  if (members.empty()) return;
  Grid grid = lay_grid(boxes, members, longest, threshold);

  const int64_t count = members.size();
  std::vector<int32_t> cell(count), place(count);
  grid.start.assign(grid.cells[0] * grid.cells[1] * grid.cells[2] + 1, 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = 0;
    for (int64_t axis = front; axis < most_axes; ++axis)
      at = at * grid.cells[axis] + grid.cell(axis, boxes.centre(members[i], axis - front));
    cell[i] = at;
    ++grid.start[at + 1];
  }
  for (size_t i = 1; i < grid.start.size(); ++i) grid.start[i] += grid.start[i - 1];
  std::vector<int32_t> next(grid.start.begin(), grid.start.end() - 1);

  const int64_t stride = count + padding;
  std::vector<T> values(stride * (2 * dims + 1));
  std::vector<typename Flag<T>::type> gone(stride);
  Columns<T> columns{};
  for (int64_t axis = 0; axis < dims; ++axis) {
    columns.low[axis] = values.data() + axis * stride;
    columns.high[axis] = values.data() + (dims + axis) * stride;
  }
  columns.volume = values.data() + 2 * dims * stride;
  columns.gone = gone.data();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = place[i] = next[cell[i]]++;
    for (int64_t axis = 0; axis < 2 * dims; ++axis)
      values[axis * stride + at] = boxes.at[members[i] * 2 * dims + axis];
    values[2 * dims * stride + at] = boxes.volume(members[i]);
  }

  T limit = static_cast<T>(threshold);
  if (limit > threshold) limit = std::nextafter(limit, T(0));  // the largest that is not above
  for (int64_t i = 0; i < count; ++i) {
    if (gone[place[i]]) continue;
    keep[ranked[i]] = 1;
    Window window{};
    for (int64_t axis = front; axis < most_axes; ++axis) {
      const double centre = boxes.centre(members[i], axis - front);
      const double far =
          reach(boxes.side(members[i], axis - front), longest[axis - front], threshold) +
          1e-6 * std::abs(centre);
      window.from[axis] = grid.cell(axis, centre - far);
      window.to[axis] = grid.cell(axis, centre + far);
    }
    MICROTOME_CALL(suppress<T>, dims, columns, grid, window, place[i], limit);
  }
}

std::vector<std::vector<int32_t>> by_group(const std::optional<Tensor>& of,
                                           const std::vector<int32_t>& order) {
  std::vector<std::vector<int32_t>> ranks(1);
  if (!of) {
    for (size_t rank = 0; rank < order.size(); ++rank) ranks[0].push_back(rank);
    return ranks;
  }
  const int64_t* groups = static_cast<const int64_t*>(of->const_data_ptr());
  std::unordered_map<int64_t, size_t> known;
  size_t at = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    if (!rank || groups[order[rank]] != groups[order[rank - 1]]) {
      at = known.try_emplace(groups[order[rank]], known.size()).first->second;
      if (at == ranks.size()) ranks.emplace_back();
    }
    ranks[at].push_back(static_cast<int32_t>(rank));
  }
  return ranks;
}

template <class T>
std::vector<char> suppress_all(const Tensor& boxes, const std::optional<Tensor>& groups,
                               const std::vector<int32_t>& order, double threshold) {
  const Boxes<T> all{static_cast<const T*>(boxes.const_data_ptr()), boxes.size(0),
                     boxes.size(1) / 2};
  std::vector<char> keep(all.count);
  const auto ranks = by_group(groups, order);
  parallel(ranks.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      suppress_group(all, order, ranks[i], threshold, keep.data());
  });
  return keep;
}

template <class T>
bool all_finite(const T* at, int64_t count) {
  using Bits = decltype(falling(T()));
  const Bits exponent = sizeof(T) == 4 ? Bits(0x7f800000) : Bits(0x7ff0000000000000);
  int32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, at + i, sizeof bits);
    wrong |= (bits & exponent) == exponent;
  }
  return !wrong;
}

template <class T>
int64_t rows_not_finite(const Tensor& x, bool infinity_too, int64_t in_a_row) {
  const T* at = static_cast<const T*>(x.const_data_ptr());
  if (all_finite(at, x.numel())) return 0;
  int64_t found = 0;
  for (int64_t row = 0; row < x.size(0); ++row) {
    bool wrong = false;
    for (int64_t i = row * in_a_row; i < (row + 1) * in_a_row; ++i)
      wrong |= std::isnan(at[i]) || (infinity_too && std::isinf(at[i]));
    found += wrong;
  }
  return found;
}

void refuse_values(const Tensor& boxes, const Tensor& scores) {
  const bool wide = boxes.scalar_type() == ScalarType::Double;
  const int64_t in_a_row = boxes.size(1);
  const int64_t unbounded = wide ? rows_not_finite<double>(boxes, true, in_a_row)
                                 : rows_not_finite<float>(boxes, true, in_a_row);
  const int64_t unordered = scores.scalar_type() == ScalarType::Double
                                ? rows_not_finite<double>(scores, false, 1)
                                : rows_not_finite<float>(scores, false, 1);
  STD_TORCH_CHECK(!unordered && !unbounded, "nms: ", unordered, " scores are not a number; ",
                  unbounded, " boxes hold infinities or what is not a number; the training may "
                  "have diverged");
  STD_TORCH_CHECK(boxes.size(0) < (int64_t(1) << 31), "nms: more than 2^31 boxes");
}

Tensor run(Tensor boxes, Tensor scores, std::optional<Tensor> groups, double threshold) {
  boxes = contiguous(boxes), scores = contiguous(scores);
  if (groups) groups = contiguous(*groups);
  refuse_values(boxes, scores);
  const int64_t count = boxes.size(0);
  const auto order =
      scores.scalar_type() == ScalarType::Double
          ? ranking(static_cast<const double*>(scores.const_data_ptr()), count)
          : ranking(static_cast<const float*>(scores.const_data_ptr()), count);
  const auto keep = boxes.scalar_type() == ScalarType::Double
                        ? suppress_all<double>(boxes, groups, order, threshold)
                        : suppress_all<float>(boxes, groups, order, threshold);
  const int64_t kept = std::count(keep.begin(), keep.end(), 1);
  Tensor out = torch::stable::new_empty(boxes, {kept}, ScalarType::Long);
  int64_t* to = static_cast<int64_t*>(out.mutable_data_ptr());
  for (int64_t rank = 0; rank < count; ++rank)
    if (keep[rank]) *to++ = order[rank];
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(microtome, CPU, m) { m.impl("nms", TORCH_BOX(&run)); }
