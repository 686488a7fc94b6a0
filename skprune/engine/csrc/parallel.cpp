#include "parallel.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace skprune {
namespace {

struct Job {
    void (*task)(void*);
    void* argument;
    int wanted;  // threads that may still join
    std::atomic<int> active{0};
};

// Some tens of microseconds.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

// Threads that wait for jobs: to wake one takes a sixth of what it takes to start one, and each keeps
// its scratch memory. They never end, and the pool is never freed, because a process may exit while
// they wait.
class Pool {
public:
    void run(Job& job) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            jobs_.push_back(&job);
            hire(job.wanted);
        }
        work_.notify_all();
        job.task(job.argument);
        std::unique_lock<std::mutex> lock(mutex_);
        // Whoever has not come by now finds nothing left to do, and is not waited for.
        jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
        lock.unlock();
        // The others are at their last chunk: to sleep and be woken would mostly take longer.
        for (int i = 0; i < kSpins && job.active > 0; ++i) pause();
        lock.lock();
        done_.wait(lock, [&job] { return job.active == 0; });
    }

private:
    void hire(int wanted) {
        // More than the processor runs at a time would only take turns.
        const int most = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
        try {
            for (; n_threads_ < std::min(wanted, most); ++n_threads_) {
                std::thread([this] { serve(); }).detach();
            }
        } catch (const std::exception&) {
            // No more threads to be had: those that run will do.
        }
    }

    [[noreturn]] void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            const auto open = std::find_if(jobs_.begin(), jobs_.end(),
                                           [](const Job* job) { return job->wanted > 0; });
            if (open == jobs_.end()) {
                work_.wait(lock);
                continue;
            }
            Job& job = **open;
            --job.wanted;
            ++job.active;
            lock.unlock();
            job.task(job.argument);
            lock.lock();
            if (--job.active == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, done_;
    std::vector<Job*> jobs_;
    int n_threads_ = 0;
};

// Made when the module is loaded, before anything can fork in the middle of a first call.
Pool* pool = [] {
#if defined(__unix__) || defined(__APPLE__)
    // A forked process has none of the threads, and a lock that one of them may hold.
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
#endif
    return new Pool;
}();

}  // namespace

void on_threads(int n_threads, void (*task)(void*), void* argument) {
    Job job{task, argument, n_threads - 1, {}};
    pool->run(job);
}

}  // namespace skprune
