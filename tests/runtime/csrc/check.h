// The few assertions that the C++ tests need: they print the line that failed and make main() return 1.
#ifndef HUMAR_TEST_CHECK_H
#define HUMAR_TEST_CHECK_H

#include <cmath>
#include <cstdio>

inline int failures = 0;

#define CHECK(condition)                                                                                               \
    do                                                                                                                 \
    {                                                                                                                  \
        if (!(condition))                                                                                              \
        {                                                                                                              \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                               \
            ++failures;                                                                                                \
        }                                                                                                              \
    } while (false)

#define CHECK_NEAR(actual, expected, tolerance)                                                                        \
    do                                                                                                                 \
    {                                                                                                                  \
        double const actual_value = (actual);                                                                          \
        double const expected_value = (expected);                                                                      \
        if (!(std::fabs(actual_value - expected_value) <= (tolerance)))                                                \
        {                                                                                                              \
            std::fprintf(                                                                                              \
                stderr, "%s:%d: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, #actual, actual_value, expected_value); \
            ++failures;                                                                                                \
        }                                                                                                              \
    } while (false)

#endif  // HUMAR_TEST_CHECK_H
