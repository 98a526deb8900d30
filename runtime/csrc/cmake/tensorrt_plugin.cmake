# Target humar_trt_plugin: libhumar_trt_plugin.so, when nvcc, the CUDA runtime and TensorRT are there.
find_path(HUMAR_TENSORRT_INCLUDE NvInfer.h
  HINTS "${TensorRT_ROOT}" ENV TensorRT_ROOT PATH_SUFFIXES include
        include/${CMAKE_LIBRARY_ARCHITECTURE})
find_library(HUMAR_NVINFER nvinfer
  HINTS "${TensorRT_ROOT}" ENV TensorRT_ROOT PATH_SUFFIXES lib lib/${CMAKE_LIBRARY_ARCHITECTURE})
if(NOT HUMAR_TENSORRT_INCLUDE OR NOT HUMAR_NVINFER)
  message(STATUS "TensorRT plugin: skipped, NvInfer.h or libnvinfer not found (set TensorRT_ROOT)")
  return()
endif()
if(NOT TARGET humar_msda_cuda_object)
  message(STATUS "TensorRT plugin: skipped, it needs the CUDA kernel")
  return()
endif()
find_package(CUDAToolkit REQUIRED)
message(STATUS "TensorRT plugin: ${HUMAR_TENSORRT_INCLUDE}")

add_library(humar_trt_plugin SHARED "${HUMAR_CSRC}/ms_deform_attn_plugin.cpp" "${HUMAR_CUDA_OBJECT}")
set_source_files_properties("${HUMAR_CUDA_OBJECT}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
add_dependencies(humar_trt_plugin humar_msda_cuda_object)
target_include_directories(humar_trt_plugin PRIVATE "${HUMAR_CSRC}")
# SYSTEM: warnings in NVIDIA's headers are not ours to fix.
target_include_directories(humar_trt_plugin SYSTEM PRIVATE "${HUMAR_TENSORRT_INCLUDE}" ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(humar_trt_plugin PRIVATE "${HUMAR_NVINFER}" CUDA::cudart_static)
