/* Layers that PyTorch computes slowly on the CPU, for features in channels-last memory, float32.

   B images, H rows, W columns, d channels; a pixel's channels lie side by side. Vectors hold so many channels, or
   queries of an attention, as a register of the processor. Every parallel loop runs over parts
   of the result, so that results do not depend on the number of threads; gradients of weights are summed in a fixed
   order. */

#include "vectors.h"
#include "depthwise.h"
#include "layer_norm.h"
#include "products.h"
#include "pointwise.h"
#include "window_attention.h"
#include "super_tokens.h"
#include "channel_norm.h"
#include "spatial_gate.h"
#include "branches.h"
#include "total_variation.h"
