// Compiled once per instruction set: SKPRUNE_ISA is its name and the namespace of all its code.
#include "kernels.h"

#include "forest_walk.h"
#include "network_run.h"
#include "tree_walk.h"

#define SKPRUNE_STRING_OF(x) #x
#define SKPRUNE_STRING(x) SKPRUNE_STRING_OF(x)

namespace skprune::SKPRUNE_ISA {

extern const Kernels kernels;
const Kernels kernels{SKPRUNE_STRING(SKPRUNE_ISA),
                      {0, TileSums<8>::kGroup, TileSums<16>::kGroup, TileSums<32>::kGroup,
                       TileSums<64>::kGroup},
                      run_network, find_leaves, run_forest};

}  // namespace skprune::SKPRUNE_ISA
