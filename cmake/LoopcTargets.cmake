# The few functions with which every target of this project is declared.

set(LOOPC_WARNINGS -Wall -Wextra -Wno-unused-parameter)

# Adds -fsanitize flags to an MLIR-free target when LOOPC_SANITIZE is set.
function(loopc_sanitize name)
  if(LOOPC_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${LOOPC_SANITIZE} -fno-omit-frame-pointer
                           -fno-sanitize-recover=all)
    target_link_options(${name} PUBLIC -fsanitize=${LOOPC_SANITIZE})
  endif()
  if(LOOPC_FUZZ) # what fuzzers link has to report the branches it takes: coverage guides them
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# loopc_library(NAME SOURCES ... LINK ...): a static library in C++20 that does not see MLIR.
function(loopc_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;INCLUDE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PUBLIC ${ARG_INCLUDE})
  target_compile_options(${name} PRIVATE ${LOOPC_WARNINGS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  loopc_sanitize(${name})
endfunction()

# loopc_unittest(NAME SOURCES ... LINK ...): one GoogleTest program, run by CTest.
function(loopc_unittest name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} EXCLUDE_FROM_ALL ${ARG_SOURCES})
  target_compile_features(${name} PRIVATE cxx_std_20)
  target_compile_options(${name} PRIVATE ${LOOPC_WARNINGS})
  target_compile_definitions(${name} PRIVATE LOOPC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest_main Threads::Threads)
  loopc_sanitize(${name})
  add_test(NAME ${name} COMMAND ${name})
  set_property(GLOBAL APPEND PROPERTY LOOPC_UNITTESTS ${name})
endfunction()

# Finds MLIR 22 as Debian packages it; only the shared libraries are linked (never mixed with static components).
macro(loopc_find_mlir)
  list(APPEND CMAKE_PREFIX_PATH /usr/lib/llvm-22)
  find_package(MLIR REQUIRED CONFIG)
  list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
  set(MLIR_LINK_MLIR_DYLIB ON)
  set(LLVM_LINK_LLVM_DYLIB ON)
  include(TableGen)
  include(AddLLVM)
  include(AddMLIR)
  separate_arguments(LOOPC_LLVM_DEFINITIONS NATIVE_COMMAND ${LLVM_DEFINITIONS})
  # One precompiled header serves every MLIR translation unit (9 s to 2.5 s each).
  file(WRITE ${CMAKE_BINARY_DIR}/LoopcPCH.cpp "")
  add_library(LoopcPCH STATIC ${CMAKE_BINARY_DIR}/LoopcPCH.cpp)
  loopc_mlir_options(LoopcPCH)
  target_precompile_headers(LoopcPCH PRIVATE ${PROJECT_SOURCE_DIR}/cmake/MLIRHeaders.h)
endmacro()

function(loopc_mlir_options name)
  target_compile_features(${name} PUBLIC cxx_std_17)
  target_include_directories(${name} SYSTEM PRIVATE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
  target_compile_definitions(${name} PRIVATE ${LOOPC_LLVM_DEFINITIONS})
  target_compile_options(${name} PRIVATE ${LOOPC_WARNINGS} -fno-exceptions)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # ccache can reuse a precompiled header only if it carries no time stamp.
    target_compile_options(${name} PRIVATE -Xclang -fno-pch-timestamp)
  endif()
endfunction()

# loopc_mlir_library(NAME SOURCES ... LINK ... [DEPENDS ...]): a static library that sees MLIR (C++17, no exceptions).
function(loopc_mlir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  loopc_mlir_options(${name})
  target_precompile_headers(${name} REUSE_FROM LoopcPCH)
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# loopc_mlir_tool(NAME SOURCES ... LINK ...): an executable linked against the MLIR and LLVM shared libraries.
function(loopc_mlir_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  loopc_mlir_options(${name})
  # The precompiled header was made with -fPIC; an executable's own default, -fPIE, would not match it.
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE -fPIC)
  target_precompile_headers(${name} REUSE_FROM LoopcPCH)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM Threads::Threads)
endfunction()
