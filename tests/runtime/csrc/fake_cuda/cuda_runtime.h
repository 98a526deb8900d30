// STAND-IN for CUDA's cuda_runtime.h, for tests only: runs a kernel's source on host threads.
//
// A launch runs the grid's blocks one after another; the threads of a block are real threads, __syncthreads() is a
// barrier for the block and a shuffle is an exchange between barriers of the warp. That executes the kernel's indexing,
// staging and synchronisation for real (and lets ThreadSanitizer look for missing barriers); it says nothing about
// speed, about the memory system, or about what nvcc makes of the source.
#ifndef HUMAR_FAKE_CUDA_RUNTIME_H
#define HUMAR_FAKE_CUDA_RUNTIME_H

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(threads, blocks)
// The including test defines the array; blocks run one at a time, so one is enough.
#define __shared__

struct alignas(16) float4
{
    float x, y, z, w;
};

struct alignas(8) float2
{
    float x, y;
};

struct dim3
{
    unsigned int x = 1, y = 1, z = 1;
    dim3() = default;
    explicit dim3(unsigned int x_, unsigned int y_ = 1)
        : x(x_)
        , y(y_)
    {
    }
};

inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

inline float2 make_float2(float x, float y)
{
    return {x, y};
}

using cudaStream_t = struct CUstream_st*;

enum cudaError_t
{
    cudaSuccess = 0,
    cudaErrorInvalidConfiguration = 9
};

namespace fake_cuda
{

class Barrier
{
public:
    explicit Barrier(std::size_t count)
        : count_(count)
    {
    }

    void wait()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        std::size_t const generation = generation_;
        if (++waiting_ == count_)
        {
            waiting_ = 0;
            ++generation_;
            condition_.notify_all();
            return;
        }
        condition_.wait(lock, [&] { return generation != generation_; });
    }

private:
    std::size_t const count_;
    std::size_t waiting_ = 0;
    std::size_t generation_ = 0;
    std::mutex mutex_;
    std::condition_variable condition_;
};

struct Block
{
    explicit Block(std::size_t threads)
        : all(threads)
        , exchange(threads)
    {
        for (std::size_t warp = 0; warp < (threads + 31) / 32; ++warp)
        {
            warps.push_back(std::make_unique<Barrier>(32));
        }
    }

    Barrier all;
    std::vector<std::unique_ptr<Barrier>> warps;
    std::vector<float> exchange;
};

inline thread_local Block* block = nullptr;
inline thread_local unsigned int thread = 0;
inline std::size_t largest_shared_bytes = 0;

}  // namespace fake_cuda

inline thread_local dim3 threadIdx;
inline thread_local dim3 blockIdx;
inline thread_local dim3 blockDim;

inline void __syncthreads()
{
    fake_cuda::block->all.wait();
}

inline float __shfl_xor_sync(unsigned int /* mask */, float value, int offset)
{
    fake_cuda::Block& block = *fake_cuda::block;
    fake_cuda::Barrier& warp = *block.warps[fake_cuda::thread / 32];
    block.exchange[fake_cuda::thread] = value;
    warp.wait();
    float const other = block.exchange[fake_cuda::thread ^ static_cast<unsigned int>(offset)];
    warp.wait();
    return other;
}

template <typename A, typename B>
cudaError_t cudaLaunchKernel(
    void (*kernel)(A, B), dim3 grid, dim3 shape, void** arguments, std::size_t shared_bytes, cudaStream_t /* stream */)
{
    unsigned int const threads = shape.x * shape.y;
    if (threads % 32 != 0 || threads > 1024 || shared_bytes > 48 * 1024)
    {
        return cudaErrorInvalidConfiguration;
    }
    fake_cuda::largest_shared_bytes
        = shared_bytes > fake_cuda::largest_shared_bytes ? shared_bytes : fake_cuda::largest_shared_bytes;
    fake_cuda::Block block(threads);
    std::vector<std::thread> workers;
    for (unsigned int index = 0; index < threads; ++index)
    {
        workers.emplace_back([&, index] {
            fake_cuda::block = &block;
            fake_cuda::thread = index;
            blockDim = shape;
            threadIdx.x = index % shape.x;
            threadIdx.y = index / shape.x;
            for (unsigned int number = 0; number < grid.x; ++number)
            {
                blockIdx.x = number;
                kernel(*static_cast<A*>(arguments[0]), *static_cast<B*>(arguments[1]));
                block.all.wait();
            }
        });
    }
    for (std::thread& worker : workers)
    {
        worker.join();
    }
    return cudaSuccess;
}

#endif  // HUMAR_FAKE_CUDA_RUNTIME_H
