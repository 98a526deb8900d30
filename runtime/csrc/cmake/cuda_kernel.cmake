# Target humar_msda_cuda_object (file in HUMAR_CUDA_OBJECT) and ptxas-report.txt in the build directory.
#
# nvcc is called directly instead of through the CUDA language of CMake: the report is wanted in a file, and no GPU,
# driver or CUDA runtime library is needed to compile.
find_program(HUMAR_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
if(NOT HUMAR_NVCC)
  message(STATUS "CUDA kernel: skipped, nvcc not found (set CUDA_HOME or HUMAR_NVCC)")
  return()
endif()
message(STATUS "CUDA kernel: ${HUMAR_NVCC} for SM ${HUMAR_CUDA_ARCHITECTURES}")

set(HUMAR_CUDA_OBJECT "${CMAKE_CURRENT_BINARY_DIR}/ms_deform_attn.cu.o")
set(HUMAR_PTXAS_REPORT "${CMAKE_CURRENT_BINARY_DIR}/ptxas-report.txt")

set(nvcc_flags -std=c++17 -O3 -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-fPIC,-fvisibility=hidden
    -Xptxas -v,-warn-spills)
foreach(architecture IN LISTS HUMAR_CUDA_ARCHITECTURES)
  list(APPEND nvcc_flags -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
# PTX of the newest one, so that the driver can compile for GPUs that came later.
list(GET HUMAR_CUDA_ARCHITECTURES -1 newest)
list(APPEND nvcc_flags -gencode arch=compute_${newest},code=compute_${newest})

add_custom_command(
  OUTPUT "${HUMAR_CUDA_OBJECT}" "${HUMAR_PTXAS_REPORT}"
  COMMAND "${CMAKE_COMMAND}" "-DOUTPUT=${HUMAR_CUDA_OBJECT}" "-DREPORT=${HUMAR_PTXAS_REPORT}" -P
          "${HUMAR_CSRC}/cmake/run_with_report.cmake" -- "${HUMAR_NVCC}" ${nvcc_flags} -c
          "${HUMAR_CSRC}/ms_deform_attn.cu" -o "${HUMAR_CUDA_OBJECT}"
  DEPENDS "${HUMAR_CSRC}/ms_deform_attn.cu" "${HUMAR_CSRC}/ms_deform_attn.h" "${HUMAR_CSRC}/ms_deform_attn_cuda.h"
          "${HUMAR_CSRC}/half.h" "${HUMAR_CSRC}/cmake/run_with_report.cmake"
  COMMENT "Compiling the CUDA kernel for SM ${HUMAR_CUDA_ARCHITECTURES}"
  VERBATIM)
add_custom_target(humar_msda_cuda_object ALL DEPENDS "${HUMAR_CUDA_OBJECT}")
